# The change data feed: over HTTP, on the command line, page by page, and where there is none.
# shellcheck shell=bash

FEED='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"st","type":"string"},{"name":"v","type":"long"}]},"key":["id"],"partition_by":["st"],"change_feed":true'

# send TABLE LINES
send()
{
    printf '%s\n' "$2" >"$WORK/lines.ndjson"
    post "$1" "$WORK/lines.ndjson"
    expect_status 200
}

seed()
{
    create "$1" "$FEED,\"merge\":\"$2\"}"
    send "$1" '{"id":"a","st":"TX","v":1}
{"id":"b","st":"TX","v":2}'
    send "$1" '{"id":"a","st":"CA","v":10}
{"id":"c","v":3}
{"id":"b","_op":"delete"}'
    send "$1" '{"id":"d","st":"CA","v":4}'
}

TOLD='["a","TX",1,"insert",1]
["a","TX",1,"update_preimage",2]
["a","CA",10,"update_postimage",2]
["b","TX",2,"insert",1]
["b","TX",2,"delete",2]
["c",null,3,"insert",2]
["d","CA",4,"insert",3]'
ORDER='["insert","update_preimage","update_postimage","delete"] as $o | map([.id,.st,.v,._change_type,._commit_version]) | sort_by([.[0],.[4],([.[3]]|inside(["update_postimage","delete"]))]) | .[]'

expect_told()
{
    local got
    got=$(jq -c -s "$ORDER" "$WORK/told")
    [ "$got" = "$TOLD" ] || fail "$1: told $got"
}

test_what_versions_changed()
{
    start_server
    local merge token query
    for merge in deletion-vectors copy-on-write; do
        local table=t_${merge%%-*}
        seed "$table" "$merge"
        api GET "/v1/tables/$table/changes?from_version=0"
        expect_status 200
        expect .to_version 3
        expect .next_page_token null
        jq -c '.changes[]' "$BODY" >"$WORK/told"
        expect_told "$merge"
        jq -e 'all(.changes[]; ._commit_timestamp | test("^20..-..-..T.*Z$"))' "$BODY" >/dev/null || fail "timestamps"
        # page by page
        : >"$WORK/told"
        token=
        for _ in $(seq 1 20); do
            query="from_version=0&limit=2${token:+&page_token=$token}"
            api GET "/v1/tables/$table/changes?$query"
            expect_status 200
            jq -c '.changes[]' "$BODY" >>"$WORK/told"
            token=$(jq -r '.next_page_token // empty' "$BODY")
            [ -n "$token" ] || break
        done
        expect_told "$merge in pages"
        # on the command line, with and without the server
        "$SLUICE" table changes "$table" --from 0 --data "$DATA" >"$WORK/told"
        expect_told "$merge on the command line"
        "$SLUICE" table changes "$DATA/tables/$table" --from 0 --format ndjson >"$WORK/told"
        expect_told "$merge of the folder"
        [ "$("$SLUICE" table changes "$DATA/tables/$table" --from 1 --to 1 --count)" = 2 ] || fail "--to"
        [ "$("$SLUICE" table changes "$DATA/tables/$table" --from 3 --columns v | jq -c 'del(._commit_timestamp)')" = '{"v":4,"_change_type":"insert","_commit_version":3}' ] || fail "--columns"
    done
}

test_what_cannot_be_told()
{
    start_server
    create t "${FEED%,\"change_feed\":true},\"change_feed\":false}"
    send t '{"id":"a","v":1}'
    api GET '/v1/tables/t/changes?from_version=0'
    expect_status 409
    expect .detail '"version 1 was written without a feed of changes (delta.enableChangeDataFeed); set \"change_feed\": true in the table'"'"'s definition, and ask from the version that does so"'
    "$SLUICE" table changes "$DATA/tables/t" --from 0 2>"$WORK/out" && fail "told what there is not"
    # switched on later: from there on
    api GET /v1/tables/t
    local etag
    etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
    api PUT /v1/tables/t -H 'Content-Type: application/json' -H "If-Match: $etag" --data-binary "$FEED}"
    expect_status 200
    expect .definition.change_feed true
    send t '{"id":"a","v":2}'
    api GET '/v1/tables/t/changes?from_version=2'
    expect_status 200
    expect '[.changes[]|[.v,._change_type]]' '[[1,"update_preimage"],[2,"update_postimage"]]'
    expect .to_version 3
    api GET '/v1/tables/t/changes?from_version=4'
    expect_status 200
    expect .changes '[]'
    expect .to_version 3
    api GET '/v1/tables/t/changes'
    expect_status 400
    api GET '/v1/tables/t/changes?from_version=3&to_version=2'
    expect_status 400
    api GET '/v1/tables/t/changes?from_version=2&columns=none'
    expect_status 400
    api GET '/v1/tables/t/changes?from_version=2&limit=1'
    local token
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/tables/t/changes?from_version=3&limit=1&page_token=$token"
    expect_status 400
    expect .detail '"page_token: it belongs to changes of another table, range or columns"'
    api GET /v1/tables/none/changes?from_version=0
    expect_status 404
    # and off again
    api GET /v1/tables/t
    etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
    api PUT /v1/tables/t -H 'Content-Type: application/json' -H "If-Match: $etag" --data-binary "${FEED%,\"change_feed\":true}}"
    expect_status 200
    send t '{"id":"a","v":3}'
    api GET '/v1/tables/t/changes?from_version=4'
    expect_status 409
    stop_server
    start_server
    api GET '/v1/tables/t/changes?from_version=3&to_version=3'
    expect_status 200
    expect '.changes|length' 2
    stop_server
    "$SLUICE" fsck --data "$DATA" >/dev/null || fail "fsck"
}

# Reading changes is reading rows: the same permission, the same audit.
test_changes_are_rows_to_access()
{
    start_server
    seed t deletion-vectors
    api POST /v1/principals -H 'Content-Type: application/json' -d '{"name":"acme","roles":[{"role":"partner","table":"t"}]}'
    expect_status 201
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"acme"}'
    local token
    token=$(jq -r .token "$BODY")
    local admin=$TOKEN
    TOKEN=$token api GET '/v1/tables/t/changes?from_version=0'
    expect_status 403
    TOKEN=$admin api GET '/v1/tables/t/changes?from_version=0&limit=3'
    expect_status 200
    stop_server
    grep -aqE '"event":"rows.read"[^}]*"resource":"t"[^}]*"count":3' "$DATA"/audit/* || fail "the reading is not audited"
}

# A file that should tell of changes and does not is named.
test_a_change_file_without_its_type()
{
    start_server
    create t "${FEED%,\"partition_by\"*},\"change_feed\":true}"
    send t '{"id":"a","v":1}'
    send t '{"id":"a","v":2}'
    local told
    told=$(find "$DATA/tables/t/_change_data" -name '*.parquet')
    cp "$(find "$DATA/tables/t" -maxdepth 1 -name '*.parquet' | head -1)" "$told"
    local code=0
    "$SLUICE" table changes "$DATA/tables/t" --from 2 >"$WORK/out" 2>"$WORK/err" || code=$?
    [ "$code" = 65 ] || fail "exit code $code: $(cat "$WORK/err" "$WORK/out")"
    grep -q 'has no column _change_type' "$WORK/err" || fail "$(cat "$WORK/err")"
}
