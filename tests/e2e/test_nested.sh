# Columns of struct, array and map, from the definition to lookups, and back out.
# shellcheck shell=bash

ADDRESS='{"name":"address","type":{"type":"struct","fields":[{"name":"city","type":"string","max_length":20},{"name":"zip","type":"string","format":"zip"}]}}'
DRUGS='{"name":"drugs","type":{"type":"array","elementType":{"type":"struct","fields":[{"name":"ndc","type":"string","nullable":false},{"name":"dose","type":"decimal(8,2)"}]}}}'
NOTES='{"name":"notes","type":{"type":"map","keyType":"string","valueType":"long"}}'
FIELDS='{"name":"id","type":"string","nullable":false},{"name":"t","type":"long","nullable":false}'

# From the first batch to optimize, of a table with this merge mode
live_with()
{
    start_server
    local merge=$1 t=t rest
    rest="\"key\":[\"id\"],\"sequence_by\":\"t\",\"merge\":\"$merge\",\"change_feed\":true,\"lookup\":[{\"entity\":\"member\",\"column\":\"id\",\"as\":\"member\"}]"
    create "$t" "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"st\",\"type\":\"string\"},$ADDRESS,$DRUGS,$NOTES]},\"partition_by\":[\"st\"],$rest}"
    send_lines "$t" '{"id":"a","t":1,"st":"TX","address":{"city":"Austin","zip":"73301"},"drugs":[{"ndc":"1","dose":0.5},{"ndc":"2"}],"notes":{"x":1,"y":null}}
{"id":"b","t":1,"st":"CA","address":null,"drugs":[],"notes":{}}
{"id":"c","t":1,"st":"CA"}'
    local before
    before=$(rows_by_id "$t")
    [ "$before" = '[{"id":"a","t":1,"st":"TX","address":{"city":"Austin","zip":"73301"},"drugs":[{"ndc":"1","dose":0.5},{"ndc":"2","dose":null}],"notes":{"x":1,"y":null}},{"id":"b","t":1,"st":"CA","address":null,"drugs":[],"notes":{}},{"id":"c","t":1,"st":"CA","address":null,"drugs":null,"notes":null}]' ] || fail "$merge: $before"
    send_lines "$t" '{"_op":"patch","id":"a","t":2,"drugs":[null,{"ndc":"3","dose":7}]}
{"id":"c","t":2,"st":"NY","notes":{"z":9}}
{"_op":"delete","id":"b","t":2}'
    api GET "/v1/members/a"
    expect ".member" '{"id":"a","t":2,"st":"TX","address":{"city":"Austin","zip":"73301"},"drugs":[null,{"ndc":"3","dose":7}],"notes":{"x":1,"y":null}}'
    kill_server KILL
    start_server
    api GET "/v1/members/c"
    expect ".member.notes" '{"z":9}'
    [ "$(rows_by_id "$t" '?version=1')" = "$before" ] || fail "$merge, as of: $(rows_by_id "$t" '?version=1')"
    api GET "/v1/tables/$t/changes?from_version=2&to_version=2"
    expect '[.changes[]|select(.id=="a")|[._change_type,(.drugs|length)]]|sort' '[["update_postimage",2],["update_preimage",2]]'
    expect '[.changes[]|select(._change_type=="delete").drugs]' '[[]]'

    # a struct grows, wherever it is; what is stored has nulls there
    local grown="{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"st\",\"type\":\"string\"},$(jq -nc "$ADDRESS|.type.fields+=[{name:\"geo\",type:{type:\"array\",elementType:\"double\"}}]"),$(jq -nc "$DRUGS|.type.elementType.fields+=[{name:\"days\",type:\"integer\"}]"),$NOTES]},\"partition_by\":[\"st\"],$rest}"
    api PUT "/v1/tables/$t" -H 'If-Match: *' -H 'Content-Type: application/json' -d "$grown"
    expect_status 200
    api GET "/v1/members/a"
    expect ".member.address" '{"city":"Austin","zip":"73301","geo":null}'
    expect ".member.drugs[1]" '{"ndc":"3","dose":7,"days":null}'
    send_lines "$t" '{"_op":"patch","id":"c","t":3,"address":{"geo":[1.5,null]}}'
    [ "$(rows_by_id "$t" | jq -c '[.[]|[.id,.address.geo,.drugs[1].days]]')" = '[["a",null,null],["c",[1.5,null],null]]' ] || fail "$merge: $(rows_by_id "$t")"
    [ "$(rows_by_id "$t" '?version=1' | jq -c 'map(del(.address.geo?,.drugs[]?.days?))')" = "$(jq -c 'map(del(.address.geo?,.drugs[]?.days?))' <<<"$before")" ] || fail "$merge, as of: $(rows_by_id "$t" '?version=1')"
    "$SLUICE" table optimize "$t" --data "$DATA" >/dev/null 2>"$WORK/err" || fail "$(cat "$WORK/err")"
    [ "$(rows_by_id "$t" | jq -c '[.[]|[.id,.address.geo,.drugs[1].ndc]]')" = '[["a",null,"3"],["c",[1.5,null],null]]' ] || fail "$merge, optimized: $(rows_by_id "$t")"
    "$SLUICE" table rows "$DATA/tables/$t" --format ndjson | jq -sc 'sort_by(.id)|[.[].address.geo]' >"$WORK/out"
    [ "$(cat "$WORK/out")" = '[null,[1.5,null]]' ] || fail "table rows: $(cat "$WORK/out")"
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

test_nested_columns_with_deletion_vectors()
{
    live_with deletion-vectors
}

test_nested_columns_with_copies()
{
    live_with copy-on-write
}

test_nested_values_that_are_refused()
{
    start_server
    create t "{\"schema\":{\"fields\":[$FIELDS,$ADDRESS,$DRUGS,$NOTES]},\"key\":[\"id\"]}"
    send_lines t '{"id":"a","t":1,"drugs":[{"ndc":"1"},{"dose":1}]}
{"id":"b","t":1,"address":{"city":"a city with a name too long","zip":"x"}}
{"id":"c","t":1,"notes":{"x":"y"}}
{"id":"d","t":1,"notes":[1]}
{"id":"e","t":1,"address":{"street":"1"}}
{"id":"f","t":1,"notes":{"x":5}}'
    expect .records.accepted 1
    expect '[.errors[]|[.line,.pointer,.code]]|sort' '[[1,"/drugs/1/ndc","required"],[2,"/address/city","too_long"],[2,"/address/zip","format"],[3,"/notes/x","type"],[4,"/notes","type"],[5,"/address/street","unknown_field"]]'
    # put right and replayed
    api GET "/v1/dead-letters?table=t"
    expect '.dead_letters|length' 5
    # CSV cells hold JSON
    printf 'id,t,address,drugs\r\ng,1,"{""city"":""Ulm""}","[{""ndc"":""9"",""dose"":""1.25""}]"\r\n' >"$WORK/lines.csv"
    api POST /v1/tables/t/batches -H 'Prefer: wait=30' -H 'Content-Type: text/csv' --data-binary "@$WORK/lines.csv"
    expect_status 200
    [ "$(rows_by_id t | jq -c '.[]|select(.id=="g")|[.address,.drugs]')" = '[{"city":"Ulm","zip":null},[{"ndc":"9","dose":1.25}]]' ] || fail "$(rows_by_id t)"
    api GET '/v1/tables/t/rows?filter=notes:eq:1'
    expect_status 400
    jq -r .detail "$BODY" | grep -q "column 'notes' is a nested map; filters compare columns of single values" || fail "$(cat "$BODY")"
    api PUT /v1/tables/u -H 'Content-Type: application/json' -d "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"a\",\"type\":{\"type\":\"list\"}}]},\"key\":[\"id\"]}"
    expect_status 422
    expect '.errors[0].pointer // .detail' '"/schema/fields/2/type/type: must be struct, array or map"'
    # a condition asks nested columns for null alone
    api PUT /v1/tables/v -H 'Content-Type: application/json' -d "{\"schema\":{\"fields\":[$FIELDS,$ADDRESS,$NOTES]},\"key\":[\"id\"],\"constraints\":[{\"name\":\"c\",\"check\":\"address IS NOT NULL OR notes IS NULL\"}]}"
    expect_status 201
    send_lines v '{"id":"a","t":1,"notes":{}}
{"id":"b","t":1,"notes":{},"address":{}}
{"id":"c","t":1}'
    expect .records.rejected_at_merge 1
    [ "$(rows_by_id v | jq -c '[.[].id]')" = '["b","c"]' ] || fail "$(rows_by_id v)"
    stop_server
}

# every type that Delta has, not only those that were offered first
test_all_types()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"short","nullable":false},{"name":"b","type":"byte","minimum":-5},{"name":"f","type":"float"},{"name":"n","type":"timestamp_ntz"},{"name":"l","type":{"type":"array","elementType":"timestamp_ntz"}}]},"key":["id"],"lookup":[{"entity":"member","column":"id","as":"member"}]}'
    send_lines t '{"id":1,"b":127,"f":1.5,"n":"2024-02-29T12:00:00","l":["2024-01-01T00:00:00.5"]}
{"id":-32768,"b":-5,"f":-0.25,"n":null}
{"id":3,"b":128}
{"id":32768}
{"id":4,"n":"2024-02-29T12:00:00Z"}
{"id":5,"f":1e39}
{"id":6,"b":-6}'
    expect .records.accepted 2
    expect '[.errors[]|[.line,.pointer,.code]]|sort' '[[3,"/b","range"],[4,"/id","range"],[5,"/n","type"],[6,"/f","range"],[7,"/b","range"]]'
    api GET /v1/members/-32768
    expect .member '{"id":-32768,"b":-5,"f":-0.25,"n":null,"l":null}'
    api GET /v1/members/1
    expect .member.n '"2024-02-29T12:00:00"'
    jq -sc '[.[]|select(.protocol).protocol|[.minReaderVersion,(.readerFeatures|sort)]]' "$DATA/tables/t/_delta_log/00000000000000000000.json" >"$WORK/out"
    [ "$(cat "$WORK/out")" = '[[3,["deletionVectors","timestampNtz"]]]' ] || fail "$(cat "$WORK/out")"
    # a table that gets its first moment without zone later
    create u '{"schema":{"fields":[{"name":"id","type":"long","nullable":false}]},"key":["id"],"merge":"copy-on-write"}'
    send_lines u '{"id":1}'
    api PUT /v1/tables/u -H 'If-Match: *' -H 'Content-Type: application/json' -d '{"schema":{"fields":[{"name":"id","type":"long","nullable":false},{"name":"s","type":{"type":"struct","fields":[{"name":"n","type":"timestamp_ntz"}]}}]},"key":["id"],"merge":"copy-on-write"}'
    expect_status 200
    send_lines u '{"id":2,"s":{"n":"2024-01-01T01:02:03.000004"}}'
    cat "$DATA/tables/u/_delta_log"/*.json | jq -c 'select(.protocol).protocol.readerFeatures' | tail -1 >"$WORK/out"
    [ "$(cat "$WORK/out")" = '["timestampNtz"]' ] || fail "$(cat "$WORK/out")"
    [ "$(rows_by_id u)" = '[{"id":1,"s":null},{"id":2,"s":{"n":"2024-01-01T01:02:03.000004"}}]' ] || fail "$(rows_by_id u)"
    kill_server KILL
    start_server
    api GET /v1/members/1
    expect .member.f 1.5
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}
