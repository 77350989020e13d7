# Columns that are renamed and dropped, by definitions and by other engines.
# shellcheck shell=bash

FIELDS='{"name":"id","type":"string","nullable":false},{"name":"t","type":"long","nullable":false}'

# change TABLE DEFINITION: a PUT on what is there
change()
{
    api PUT "/v1/tables/$1" -H 'If-Match: *' -H 'Content-Type: application/json' -d "$2"
}

# The newest schemaString and table properties of a table
metadata()
{
    cat "$DATA/tables/$1/_delta_log"/*.json | jq -c 'select(.metaData).metaData' | tail -1
}

# Another engine's commit of a changed schemaString: foreign_schema TABLE JQ-FILTER
foreign_schema()
{
    local log=$DATA/tables/$1/_delta_log version
    version=$(find "$log" -name '*.json' | wc -l)
    {
        echo '{"commitInfo":{"operation":"ALTER TABLE"}}'
        metadata "$1" | jq -c "(.schemaString|fromjson|$2|tojson) as \$s|{metaData:(.schemaString=\$s)}"
    } >"$WORK/commit.json"
    mv "$WORK/commit.json" "$log/$(printf '%020d' "$version").json"
}

test_rename_and_drop()
{
    start_server
    local merge
    for merge in deletion-vectors copy-on-write; do
        local t=t_${merge%%-*} rest
        rest="\"key\":[\"id\"],\"sequence_by\":\"t\",\"merge\":\"$merge\",\"change_feed\":true"
        create "$t" "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"st\",\"type\":\"string\"},{\"name\":\"n\",\"type\":\"long\"}]},\"partition_by\":[\"st\"],$rest}"
        send_lines "$t" '{"id":"a","t":1,"st":"TX","n":1}
{"id":"b","t":1,"st":"CA","n":2}'
        local before
        before=$(rows_by_id "$t")

        change "$t" "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"st\",\"type\":\"string\"}]},\"partition_by\":[\"st\"],$rest}"
        expect_status 409
        expect .detail "\"field 'n': is left out; to rename it, give the field of the new name renamed_from, to drop it, name it in /schema/dropped\""

        local renamed="{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"state\",\"type\":\"string\",\"renamed_from\":\"st\"},{\"name\":\"count\",\"type\":\"long\",\"renamed_from\":\"n\"}]},\"partition_by\":[\"state\"],$rest}"
        change "$t" "$renamed"
        expect_status 200
        expect '.definition.schema.fields[3].name' '"count"'
        expect '.definition.schema.fields[3]|has("id")' false
        [ "$(rows_by_id "$t")" = '[{"id":"a","t":1,"state":"TX","count":1},{"id":"b","t":1,"state":"CA","count":2}]' ] || fail "$merge: $(rows_by_id "$t")"
        change "$t" "$renamed"
        expect_status 200
        expect .definition_version 2
        [ "$(metadata "$t" | jq -c '[.configuration["delta.columnMapping.mode"],.configuration["delta.columnMapping.maxColumnId"],.partitionColumns]')" = '["name","4",["state"]]' ] || fail "$(metadata "$t")"

        send_lines "$t" '{"id":"a","t":2,"state":"TX","count":5}
{"id":"c","t":1,"state":"NY","count":7}
{"_op":"patch","id":"b","t":2,"count":9}'
        api GET "/v1/tables/$t/rows/lookup?id=a"
        [ "$(rows_by_id "$t")" = '[{"id":"a","t":2,"state":"TX","count":5},{"id":"b","t":2,"state":"CA","count":9},{"id":"c","t":1,"state":"NY","count":7}]' ] || fail "$merge: $(rows_by_id "$t")"

        # dropped, and a column of the old name that is another one
        change "$t" "{\"schema\":{\"dropped\":[\"count\"],\"fields\":[$FIELDS,{\"name\":\"state\",\"type\":\"string\"},{\"name\":\"n\",\"type\":\"string\"}]},\"partition_by\":[\"state\"],$rest}"
        expect_status 200
        [ "$(rows_by_id "$t")" = '[{"id":"a","t":2,"state":"TX","n":null},{"id":"b","t":2,"state":"CA","n":null},{"id":"c","t":1,"state":"NY","n":null}]' ] || fail "$merge: $(rows_by_id "$t")"
        send_lines "$t" '{"id":"c","t":3,"state":"NY","n":"x"}'
        kill_server KILL
        start_server
        send_lines "$t" '{"_op":"patch","id":"a","t":4,"n":"y"}'
        [ "$(rows_by_id "$t")" = '[{"id":"a","t":4,"state":"TX","n":"y"},{"id":"b","t":2,"state":"CA","n":null},{"id":"c","t":3,"state":"NY","n":"x"}]' ] || fail "$merge: $(rows_by_id "$t")"

        # as it was: with the names of then
        [ "$(rows_by_id "$t" '?version=1')" = "$before" ] || fail "$merge: $(rows_by_id "$t" '?version=1')"
        [ "$(rows_by_id "$t" '?version=3' | jq -c '.[1]')" = '{"id":"b","t":2,"state":"CA","count":9}' ] || fail "$merge: $(rows_by_id "$t" '?version=3')"
        api GET "/v1/tables/$t/changes?from_version=1&to_version=3"
        expect '[.changes[]|select(._commit_version==1).n]|sort' '[1,2]'
        expect '[.changes[]|select(._commit_version==3 and ._change_type=="insert").count]' '[7]'
        "$SLUICE" table rows "$DATA/tables/$t" --format ndjson | jq -sc 'sort_by(.id)|[.[].n]' >"$WORK/out"
        [ "$(cat "$WORK/out")" = '["y",null,"x"]' ] || fail "table rows: $(cat "$WORK/out")"
        "$SLUICE" table optimize "$t" --data "$DATA" >/dev/null 2>"$WORK/err" || fail "$(cat "$WORK/err")"
        [ "$(rows_by_id "$t" | jq -c '[.[].n]')" = '["y",null,"x"]' ] || fail "$merge, optimized: $(rows_by_id "$t")"
    done
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

test_batches_that_wait_follow_the_names()
{
    start_server
    create t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"a\",\"type\":\"string\"},{\"name\":\"b\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    send_lines t '{"id":"x","t":1,"a":"1","b":"1"}'
    # what another engine did keeps the batch waiting in the journal
    foreign_schema t '.fields += [{"name":"extra","type":"string","nullable":true,"metadata":{"note":"theirs"}}]'
    printf '{"id":"x","t":2,"a":"2","b":"2"}\n' >"$WORK/lines.ndjson"
    api POST "/v1/tables/t/batches" -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/lines.ndjson"
    expect_status 202
    local batch
    batch=$(jq -r .batch_id "$BODY")
    kill_server KILL
    start_server
    [ "$(rows_by_id t)" = '[{"id":"x","t":1,"a":"1","b":"1"}]' ] || fail "readers go on: $(rows_by_id t)"
    change t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"a\",\"type\":\"string\"},{\"name\":\"b\",\"type\":\"string\"},{\"name\":\"more\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    expect_status 409
    jq -r .detail "$BODY" | grep -q "another engine added column 'extra'; add it to the definition" || fail "$(cat "$BODY")"
    change t "{\"schema\":{\"dropped\":[\"b\"],\"fields\":[$FIELDS,{\"name\":\"aa\",\"type\":\"string\",\"renamed_from\":\"a\"},{\"name\":\"extra\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    expect_status 200
    is_indexed() { api GET "/v1/batches/$batch"; [ "$(jq -r .state "$BODY")" = indexed ]; }
    wait_for is_indexed || fail "the batch waits on: $(cat "$BODY")"
    [ "$(rows_by_id t)" = '[{"id":"x","t":2,"aa":"2","extra":null}]' ] || fail "$(rows_by_id t)"
    metadata t | jq -r .schemaString | jq -e '.fields[]|select(.name=="extra").metadata.note=="theirs"' >/dev/null || fail "their note is gone: $(metadata t)"
    stop_server
}

test_columns_of_another_engine()
{
    start_server
    create t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"a\",\"type\":\"string\"},{\"name\":\"b\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    local fields="$FIELDS,{\"name\":\"b\",\"type\":\"string\"}"
    send_lines t '{"id":"x","t":1,"a":"1","b":"1"}'
    change t "{\"schema\":{\"fields\":[$fields,{\"name\":\"aa\",\"type\":\"string\",\"renamed_from\":\"a\"}]},\"key\":[\"id\"]}"
    expect_status 200

    # renamed, dropped and added there; said here
    foreign_schema t '(.fields[]|select(.name=="aa").name) |= "aaa"'
    change t "{\"schema\":{\"fields\":[$fields,{\"name\":\"aa\",\"type\":\"string\"}]},\"key\":[\"id\"],\"description\":\"d\"}"
    expect_status 409
    jq -r .detail "$BODY" | grep -q "another engine gave a new name to column 'aa'\|column 'aa' .*renamed" || fail "$(cat "$BODY")"
    change t "{\"schema\":{\"fields\":[$fields,{\"name\":\"aaa\",\"type\":\"string\",\"renamed_from\":\"aa\"}]},\"key\":[\"id\"]}"
    expect_status 200
    send_lines t '{"id":"y","t":1,"aaa":"2","b":"2"}'
    foreign_schema t 'del(.fields[]|select(.name=="b"))'
    change t "{\"schema\":{\"fields\":[$fields,{\"name\":\"aaa\",\"type\":\"string\"}]},\"key\":[\"id\"],\"description\":\"d\"}"
    expect_status 409
    jq -r .detail "$BODY" | grep -q "another engine dropped column 'b'" || fail "$(cat "$BODY")"
    change t "{\"schema\":{\"dropped\":[\"b\"],\"fields\":[$FIELDS,{\"name\":\"aaa\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    expect_status 200
    foreign_schema t '.fields += [{"name":"c","type":"string","nullable":true,"metadata":{"delta.columnMapping.id":9,"delta.columnMapping.physicalName":"col-theirs"}}]'
    change t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"aaa\",\"type\":\"string\"},{\"name\":\"c\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    expect_status 200
    send_lines t '{"id":"z","t":1,"aaa":"3","c":"3"}'
    [ "$(rows_by_id t)" = '[{"id":"x","t":1,"aaa":"1","c":null},{"id":"y","t":1,"aaa":"2","c":null},{"id":"z","t":1,"aaa":"3","c":"3"}]' ] || fail "$(rows_by_id t)"
    metadata t | jq -r .schemaString | jq -e '.fields[]|select(.name=="c").metadata["delta.columnMapping.physicalName"]=="col-theirs"' >/dev/null || fail "$(metadata t)"
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

test_nulls_are_allowed_in_the_log_too()
{
    start_server
    create t "{\"schema\":{\"fields\":[$FIELDS]},\"key\":[\"id\"]}"
    send_lines t '{"id":"x","t":1}'
    change t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"t","type":"long"}]},"key":["id"]}'
    expect_status 200
    send_lines t '{"id":"y"}'
    metadata t | jq -r .schemaString | jq -e '[.fields[].nullable]==[false,true]' >/dev/null || fail "$(metadata t)"
    # and what another engine forbids is not written
    foreign_schema t '(.fields[]|select(.name=="t").nullable) |= false'
    change t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"t","type":"long"},{"name":"u","type":"long"}]},"key":["id"]}'
    expect_status 409
    jq -r .detail "$BODY" | grep -q "another engine forbade nulls in column 't'; allow them again (DROP NOT NULL)" || fail "$(cat "$BODY")"
    [ "$(rows_by_id t)" = '[{"id":"x","t":1},{"id":"y","t":null}]' ] || fail "$(rows_by_id t)"
    stop_server
}

test_mapping_that_another_engine_switched_on()
{
    start_server
    local mode
    for mode in name id; do
        local log=$DATA/tables/t_$mode/_delta_log
        create "t_$mode" "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"a\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
        # by id only data files with ids can be read, so there are none yet
        [ "$mode" = id ] || send_lines "t_$mode" '{"id":"x","t":1,"a":"1"}'
        local version
        version=$(find "$log" -name '*.json' | wc -l)
        {
            echo '{"commitInfo":{"operation":"SET TBLPROPERTIES"}}'
            echo '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","columnMapping"],"writerFeatures":["deletionVectors","appendOnly","invariants","columnMapping"]}}'
            metadata "t_$mode" | jq -c --arg m "$mode" '(.schemaString|fromjson|.fields|=[to_entries[]|.key as $i|.value|.metadata={"delta.columnMapping.id":($i+1),"delta.columnMapping.physicalName":.name}]|tojson) as $s|{metaData:(.schemaString=$s|.configuration+={"delta.columnMapping.mode":$m,"delta.columnMapping.maxColumnId":"3"})}'
        } >"$WORK/commit.json"
        mv "$WORK/commit.json" "$log/$(printf '%020d' "$version").json"
        send_lines "t_$mode" '{"id":"y","t":1,"a":"2"}'
        change "t_$mode" "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"b\",\"type\":\"string\",\"renamed_from\":\"a\"},{\"name\":\"c\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
        expect_status 200
        send_lines "t_$mode" '{"id":"y","t":2,"b":"3","c":"4"}'
        [ "$(metadata "t_$mode" | jq -c '[.configuration["delta.columnMapping.mode"],.configuration["delta.columnMapping.maxColumnId"]]')" = "[\"$mode\",\"4\"]" ] || fail "$(metadata "t_$mode")"
    done
    kill_server KILL
    start_server
    send_lines t_name '{"_op":"patch","id":"x","t":3}'
    [ "$(rows_by_id t_name)" = '[{"id":"x","t":3,"b":"1","c":null},{"id":"y","t":2,"b":"3","c":"4"}]' ] || fail "$(rows_by_id t_name)"
    [ "$(rows_by_id t_id)" = '[{"id":"y","t":2,"b":"3","c":"4"}]' ] || fail "$(rows_by_id t_id)"
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

# types KIND: the fields of test_types_become_wider, before or after
types()
{
    local widths='"byte","short","integer","integer","byte","long","float","date","decimal(5,2)"'
    [ "$1" = wide ] && widths='"long","integer","double","decimal(12,2)","short","decimal(20,0)","double","timestamp_ntz","decimal(9,2)"'
    jq -nc "[$FIELDS]+([$widths]|to_entries|map({name:\"c\\(.key)\",type:.value}))+[{name:\"p\",type:\"integer\"}]$([ "$1" = wide ] && echo '|map(if .name=="p" or .name=="t" then .type="long" else . end)')"
}

test_types_become_wider()
{
    start_server
    local merge
    for merge in deletion-vectors copy-on-write; do
        local t=t_${merge%%-*} rest
        rest="\"key\":[\"id\"],\"sequence_by\":\"t\",\"merge\":\"$merge\",\"change_feed\":true,\"partition_by\":[\"p\"]"
        create "$t" "{\"schema\":{\"fields\":$(types narrow | jq -c 'map(if .name=="t" then .type="integer" else . end)')},$rest}"
        send_lines "$t" '{"id":"a","t":1,"c0":-128,"c1":32767,"c2":-2147483648,"c3":7,"c4":5,"c5":9007199254740993,"c6":1.5,"c7":"2024-02-29","c8":123.45,"p":1}
{"id":"b","t":1,"p":2}
{"id":"c","t":1,"c2":3,"c7":"1969-12-31","c8":-0.01,"p":1}'
        local before
        before=$(rows_by_id "$t")
        local wide
        wide="{\"schema\":{\"fields\":$(types wide)},$rest}"
        change "$t" "$wide"
        expect_status 200
        change "$t" "$wide"
        expect .definition_version 2
        local after='[{"id":"a","t":1,"c0":-128,"c1":32767,"c2":-2147483648,"c3":7,"c4":5,"c5":9007199254740992,"c6":1.5,"c7":"2024-02-29T00:00:00","c8":123.45,"p":1},{"id":"b","t":1,"c0":null,"c1":null,"c2":null,"c3":null,"c4":null,"c5":null,"c6":null,"c7":null,"c8":null,"p":2},{"id":"c","t":1,"c0":null,"c1":null,"c2":3,"c3":null,"c4":null,"c5":null,"c6":null,"c7":"1969-12-31T00:00:00","c8":-0.01,"p":1}]'
        [ "$(rows_by_id "$t")" = "$after" ] || fail "$merge: $(rows_by_id "$t")"
        metadata "$t" | jq -c '[(.schemaString|fromjson|.fields[]|select(.name=="c0" or .name=="c5")|.metadata),.configuration["delta.enableTypeWidening"]]' >"$WORK/out"
        [ "$(cat "$WORK/out")" = '[{"delta.typeChanges":[{"fromType":"byte","toType":"long"}]},{"delta.typeChanges":[{"fromType":"long","toType":"decimal(20,0)"}]},"true"]' ] || fail "$(cat "$WORK/out")"
        cat "$DATA/tables/$t/_delta_log"/*.json | jq -c 'select(.protocol).protocol.readerFeatures' | tail -1 | grep -q typeWidening || fail "no feature"

        # files of before are pruned and filtered by their narrow statistics
        local filter
        for filter in c0:eq:-128 c2:eq:-2147483648 c3:ge:7 c5:eq:9007199254740993 c6:eq:1.5 c7:ge:2024-02-29T00:00:00 c8:eq:123.45 c1:ge:32767; do
            api GET "/v1/tables/$t/rows?filter=$filter"
            expect '[.rows[].id]' '["a"]'
        done
        api GET "/v1/tables/$t/rows?filter=p:eq:2"
        expect '[.rows[].id]' '["b"]'
        api POST "/v1/tables/$t/lookup" -H 'Content-Type: application/json' -d '{"keys":[{"id":"a"}]}'
        expect '.rows[0].row|[.c0,.c3,.c7]' '[-128,7,"2024-02-29T00:00:00"]'

        # patches keep the old values, in new files under the new types
        send_lines "$t" '{"_op":"patch","id":"a","t":2,"c0":9223372036854775807}
{"id":"d","t":5000000000,"c1":2147483647,"c2":0.5,"c3":1234567890.12,"c6":1e300,"c7":"2024-01-01T12:00:00","c8":1234567.89,"p":3000000000}'
        kill_server KILL
        start_server
        [ "$(rows_by_id "$t" | jq -c '[.[]|[.id,.c1,.c2,.c7]]')" = '[["a",32767,-2147483648,"2024-02-29T00:00:00"],["b",null,null,null],["c",null,3,"1969-12-31T00:00:00"],["d",2147483647,0.5,"2024-01-01T12:00:00"]]' ] || fail "$merge: $(rows_by_id "$t")"
        [ "$(rows_by_id "$t" '?version=1')" = "$before" ] || fail "$merge, as of: $(rows_by_id "$t" '?version=1')"
        api GET "/v1/tables/$t/changes?from_version=1&to_version=3"
        expect '[.changes[]|select(.id=="a").c7]' '["2024-02-29","2024-02-29T00:00:00","2024-02-29T00:00:00"]'
        "$SLUICE" table optimize "$t" --data "$DATA" >/dev/null 2>"$WORK/err" || fail "$(cat "$WORK/err")"
        [ "$(rows_by_id "$t" | jq -c '[.[]|.c2]')" = '[-2147483648,null,3,0.5]' ] || fail "$merge, optimized: $(rows_by_id "$t")"
        "$SLUICE" table rows "$DATA/tables/$t" --format ndjson | jq -sc 'sort_by(.id)|[.[].c2]' >"$WORK/out"
        [ "$(cat "$WORK/out")" = '[-2147483648,null,3,0.5]' ] || fail "table rows: $(cat "$WORK/out")"

        change "$t" "{\"schema\":{\"fields\":$(types narrow)},$rest}"
        expect_status 409
    done
    create k '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"v","type":"string"}]},"key":["id"]}'
    change k '{"schema":{"fields":[{"name":"id","type":"long","nullable":false},{"name":"v","type":"string"}]},"key":["id"]}'
    expect_status 409
    expect .detail "\"field 'id': the type of a key or lookup field cannot change\""
    change k '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"v","type":"long"}]},"key":["id"]}'
    expect_status 409
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

test_batches_that_wait_are_widened()
{
    start_server
    create t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"n\",\"type\":\"integer\"},{\"name\":\"d\",\"type\":\"date\"}]},\"key\":[\"id\"]}"
    send_lines t '{"id":"x","t":1,"n":1,"d":"2024-01-01"}'
    # another engine widens a column, which keeps a batch waiting
    foreign_schema t '.fields |= map(if .name=="n" then .type="long" else . end)'
    printf '{"_op":"patch","id":"x","t":2,"n":2}\n{"id":"y","t":2,"n":3,"d":"2024-01-02"}\n' >"$WORK/lines.ndjson"
    api POST "/v1/tables/t/batches" -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/lines.ndjson"
    expect_status 202
    local batch
    batch=$(jq -r .batch_id "$BODY")
    kill_server KILL
    start_server
    [ "$(rows_by_id t | jq -c '.[0].n')" = 1 ] || fail "readers go on: $(rows_by_id t)"
    change t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"n\",\"type\":\"integer\"},{\"name\":\"d\",\"type\":\"date\"},{\"name\":\"more\",\"type\":\"string\"}]},\"key\":[\"id\"]}"
    expect_status 409
    jq -r .detail "$BODY" | grep -q "another engine changed the type of column 'n'; give it that type in the definition" || fail "$(cat "$BODY")"
    # ours of the same time: d
    change t "{\"schema\":{\"fields\":[$FIELDS,{\"name\":\"n\",\"type\":\"long\"},{\"name\":\"d\",\"type\":\"timestamp_ntz\"}]},\"key\":[\"id\"]}"
    expect_status 200
    is_indexed() { api GET "/v1/batches/$batch"; [ "$(jq -r .state "$BODY")" = indexed ]; }
    wait_for is_indexed || fail "the batch waits on: $(cat "$BODY")"
    [ "$(rows_by_id t)" = '[{"id":"x","t":2,"n":2,"d":"2024-01-01T00:00:00"},{"id":"y","t":2,"n":3,"d":"2024-01-02T00:00:00"}]' ] || fail "$(rows_by_id t)"
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}
