# Tables: definitions, changes, deletion.
# shellcheck shell=bash

T='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"}]},"key":["id"]}'
T2='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"},{"name":"extra","type":"date"}]},"key":["id"]}'
T3='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"string"}]},"key":["id"]}'

put()
{
    local name=$1 body=$2
    shift 2
    api PUT "/v1/tables/$name" -H 'Content-Type: application/json' -d "$body" "$@"
}

test_create_same_change()
{
    start_server
    put t "$T"
    expect_status 201
    expect_header Location /v1/tables/t
    put t "$T"
    expect_status 200
    put t "$T2"
    expect_status 428
    put t "$T2" -H 'If-Match: "stale"'
    expect_status 412
    api GET /v1/tables/t
    local etag
    etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
    printf '{"id":"a","n":1}\n' >"$WORK/a.ndjson"
    post t "$WORK/a.ndjson"
    put t "$T2" -H "If-Match: $etag"
    expect_status 200
    expect .definition_version 2
    printf '{"id":"b","n":1,"extra":"2025-01-01"}\n' >"$WORK/b.ndjson"
    post t "$WORK/b.ndjson"
    expect_status 200
    api GET /v1/tables/t/rows
    expect '[.rows[]|[.id,.extra]]|sort' '[["a",null],["b","2025-01-01"]]'
    put t "$T3" -H 'If-Match: *'
    expect_status 409
    kill_server
    start_server
    api GET /v1/tables/t/rows
    expect '[.rows[]|[.id,.extra]]|sort' '[["a",null],["b","2025-01-01"]]'
}

test_bad_definitions_name_the_place()
{
    start_server
    put t '{"schema":{"fields":[{"name":"id","type":"int"}]},"key":["id"]}'
    expect_status 422
    jq -r .detail "$BODY" | grep -q '/schema/fields/0/type' || fail "no pointer in the detail"
    put t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false,"protect":"encrypt"}]},"key":["id"]}'
    expect_status 422
    put T "$T"
    expect_status 400
}

test_delete_makes_room_for_a_new_table()
{
    start_server
    put t "$T"
    printf '{"id":"a","n":1}\n' >"$WORK/a.ndjson"
    post t "$WORK/a.ndjson"
    api GET /v1/tables/t
    local first
    first=$(jq -r .table_id "$BODY")
    api DELETE /v1/tables/t
    expect_status 204
    api GET /v1/tables/t
    expect_status 404
    put t "$T3"
    expect_status 201
    [ "$(jq -r .table_id "$BODY")" != "$first" ] || fail "a new table has the old identity"
    api GET /v1/tables/t/rows
    expect .rows '[]'
}

test_every_merge_mode()
{
    start_server
    local mode
    for mode in deletion-vectors copy-on-write; do
        put "t_${mode%%-*}" "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\",\"nullable\":false},{\"name\":\"day\",\"type\":\"date\"}]},\"key\":[\"id\"],\"partition_by\":[\"day\"],\"merge\":\"$mode\"}"
        expect_status 201
        printf '{"id":"a","day":"2025-01-01"}\n{"id":"b","day":"2025-01-02"}\n{"id":"c","day":"2025-01-02"}\n' >"$WORK/a.ndjson"
        post "t_${mode%%-*}" "$WORK/a.ndjson"
        expect_status 200
        printf '{"id":"a","day":"2025-01-02"}\n{"_op":"delete","id":"b"}\n' >"$WORK/b.ndjson"
        post "t_${mode%%-*}" "$WORK/b.ndjson"
        expect_status 200
        api GET "/v1/tables/t_${mode%%-*}/rows"
        expect '[.rows[]|[.id,.day]]|sort' '[["a","2025-01-02"],["c","2025-01-02"]]'
    done
}
