# Operations on a whole table: restore, optimize, vacuum, over HTTP and on the command line.
# shellcheck shell=bash

T='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"v","type":"long"}]},"key":["id"]}'

# send LINES
send()
{
    printf '%s\n' "$1" >"$WORK/lines.ndjson"
    post t "$WORK/lines.ndjson"
    expect_status 200
}

seed()
{
    create t "$T"
    send '{"id":"a","v":1}
{"id":"b","v":1}'
    send '{"id":"a","v":2}
{"id":"c","v":2}'
    send '{"id":"b","_op":"delete"}'
}

# The values of the only task of the run that was answered last.
values()
{
    local run
    run=$(jq -r .run_id "$BODY")
    api GET "/v1/runs/$run"
    expect_status 200
    jq -c '.tasks[0].values' "$BODY"
}

rows()
{
    api GET "/v1/tables/t/rows$1"
    jq -c '[.rows[]|[.id,.v]]|sort' "$BODY"
}

on_table()
{
    local verb=$1 body=$2
    shift 2
    api POST "/v1/tables/t/$verb" -H 'Content-Type: application/json' -H 'Prefer: wait=30' --data-binary "$body" "$@"
}

test_restore_brings_a_version_back()
{
    start_server
    seed
    local before
    before=$(rows '?version=1')
    on_table restore '{"version":1}'
    expect_status 200
    expect .result '"SUCCESS"'
    expect .name '"restore t"'
    local told
    told=$(values)
    [ "$(jq -c '[.version,.restored_version,.committed,.rows]' <<<"$told")" = '[4,1,true,2]' ] || fail "$told"
    [ "$(rows '')" = "$before" ] || fail "rows are $(rows '')"
    api POST /v1/tables/t/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"a"},{"id":"b"},{"id":"c"}]}'
    expect '[.rows[]|[.found,.row.v]]' '[[true,1],[true,1],[false,null]]'
    api GET '/v1/tables/t/history?limit=1'
    expect '.versions[0].operation' '"RESTORE"'
    # what was merged before is not merged again, and new batches are
    printf '%s\n' '{"id":"a","v":9}' >"$WORK/lines.ndjson"
    post t "$WORK/lines.ndjson"
    expect_status 200
    [ "$(rows '')" = '[["a",9],["b",1]]' ] || fail "rows are $(rows '')"
    [ "$(rows '?version=3')" = '[["a",2],["c",2]]' ] || fail "the history is lost"
    # by moment: to the second version
    local moment
    moment=$(curl -sS -H "Authorization: Bearer $TOKEN" "$URL/v1/tables/t/history" | jq -r '.versions[]|select(.version==2).timestamp')
    on_table restore "{\"timestamp\":\"$moment\"}"
    expect_status 200
    [ "$(jq -c .restored_version <<<"$(values)")" = 2 ] || fail "another version"
    [ "$(rows '')" = '[["a",2],["b",1],["c",2]]' ] || fail "rows are $(rows '')"
    # the same again: nothing to do
    on_table restore '{"version":2}'
    [ "$(jq -c .committed <<<"$(values)")" = false ] || fail "a commit for nothing"
    stop_server
    "$SLUICE" fsck --data "$DATA" >/dev/null || fail "fsck"
    start_server
    [ "$(rows '')" = '[["a",2],["b",1],["c",2]]' ] || fail "rows are $(rows '') after a start"
}

test_the_same_request_twice_is_one_run()
{
    start_server
    seed
    on_table restore '{"version":1}' -H 'Idempotency-Key: "r1"'
    local run
    run=$(jq .run_id "$BODY")
    send '{"id":"z","v":1}'
    on_table restore '{"version":1}' -H 'Idempotency-Key: "r1"'
    expect_status 200
    expect .run_id "$run"
    expect_header Idempotency-Replayed true
    [ "$(rows '')" = '[["a",1],["b",1],["z",1]]' ] || fail "rows are $(rows '')"
}

test_what_cannot_be_done_is_said()
{
    start_server
    seed
    local body
    for body in '{}' '{"version":1,"timestamp":"2026-01-01T00:00:00Z"}' '{"version":-1}' '{"version":"1"}' '{"timestamp":"yesterday"}' '{"version":1,"x":1}' '[]' '{'; do
        on_table restore "$body"
        expect_status 400
    done
    on_table restore '{"version":77}'
    expect .result '"FAILED"'
    local run
    run=$(jq .run_id "$BODY")
    api GET "/v1/runs/$run"
    expect '.tasks[0].attempts[0].error.message' '"table '"'t'"': there is no version 77; the newest is 3"'
    on_table vacuum '{"retention_seconds":60}'
    expect_status 400
    on_table vacuum '{"dry_run":"no"}'
    expect_status 400
    on_table optimize '{"fast":true}'
    expect_status 400
    api POST /v1/tables/none/optimize -H 'Content-Type: application/json' -d '{}'
    expect_status 404
    create log '{"schema":{"fields":[{"name":"id","type":"string"}]},"merge":"append"}'
    echo '{"id":"a"}' >"$WORK/lines.ndjson"
    post log "$WORK/lines.ndjson" -H 'Idempotency-Key: "1"'
    expect_status 200
    "$SLUICE" table restore log --version 0 --data "$DATA" >"$WORK/out" 2>&1 && fail "an append table was restored"
    grep -q 'append' "$WORK/out" || fail "$(cat "$WORK/out")"
    # a partner may not
    api POST /v1/principals -H 'Content-Type: application/json' -d '{"name":"acme","roles":[{"role":"partner","table":"t"}]}'
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"acme"}'
    TOKEN=$(jq -r .token "$BODY")
    on_table restore '{"version":1}'
    expect_status 403
    on_table optimize '{}'
    expect_status 403
}

test_on_the_command_line()
{
    start_server
    seed
    "$SLUICE" table restore t --version 1 --data "$DATA" >"$WORK/out" 2>"$WORK/err" || fail "$(cat "$WORK/err")"
    grep -q '^t has the rows of version 1 again: version 4,' "$WORK/out" || fail "$(cat "$WORK/out")"
    "$SLUICE" table restore t --version 1 --data "$DATA" >"$WORK/out" 2>"$WORK/err" || fail "$(cat "$WORK/err")"
    grep -q 'already, at version 4' "$WORK/out" || fail "$(cat "$WORK/out")"
    local code=0
    "$SLUICE" table restore t --version 9 --data "$DATA" >"$WORK/out" 2>"$WORK/err" || code=$?
    [ "$code" = 1 ] || fail "exit code $code"
    grep -q 'there is no version 9' "$WORK/err" || fail "$(cat "$WORK/err")"
    send '{"id":"d","v":4}'
    "$SLUICE" table optimize t --data "$DATA" --json 2>"$WORK/err" | jq -e '.values.files_written==1' >/dev/null || fail "optimize"
    api GET /v1/tables/t
    expect .files 1
    "$SLUICE" table vacuum t --data "$DATA" >"$WORK/out" 2>"$WORK/err" || fail "$(cat "$WORK/err")"
    grep -q 'would go' "$WORK/out" || fail "$(cat "$WORK/out")"
    code=0
    "$SLUICE" table vacuum t --retention-seconds 5 --apply --data "$DATA" >"$WORK/out" 2>"$WORK/err" || code=$?
    [ "$code" = 64 ] || [ "$code" = 65 ] || fail "exit code $code: $(cat "$WORK/err")"
    code=0
    "$SLUICE" table restore none --version 1 --data "$DATA" >"$WORK/out" 2>"$WORK/err" || code=$?
    [ "$code" = 66 ] || fail "exit code $code: $(cat "$WORK/err")"
}

# Files that a vacuum took cannot come back, and the table stays as it is.
test_restore_after_a_vacuum()
{
    start_server
    seed
    "$SLUICE" table optimize t --data "$DATA" >/dev/null 2>&1 || fail "optimize"
    local before file
    before=$(rows '')
    # what a vacuum does once the retention has passed
    for file in $("$SLUICE" table files "$DATA/tables/t" --version 1 --json | jq -r .path); do
        rm "$DATA/tables/t/$file"
    done
    "$SLUICE" table restore t --version 1 --data "$DATA" >"$WORK/out" 2>"$WORK/err" && fail "restored what is gone"
    grep -q 'a vacuum has removed files of it; choose a later version' "$WORK/err" || fail "$(cat "$WORK/err")"
    [ "$(rows '')" = "$before" ] || fail "rows are $(rows '')"
    send '{"id":"y","v":1}'
}

# Rows of every file in an order of their own; what is told of the table does not change.
test_optimize_sorts_by_columns()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"state","type":"string"},{"name":"day","type":"date"},{"name":"x","type":"double"},{"name":"tags","type":{"type":"array","elementType":"string"}}]},"key":["id"]}'
    local round
    for round in 1 2 3; do
        jq -nc --argjson r "$round" 'range(300)|{id:"k\(.*$r%251)",state:(["TX","CA","NY",null][(.*7)%4]),day:"2024-0\(1+.%9)-1\(.%9)",x:.,tags:["a"]}' >"$WORK/lines.ndjson"
        post t "$WORK/lines.ndjson"
        expect_status 200
    done
    api GET "/v1/tables/t/rows?limit=1000"
    jq -c '.rows|sort_by(.id)' "$BODY" >"$WORK/before"
    on_table optimize '{"sort_by":["state","day"]}'
    expect_status 200
    expect .result '"SUCCESS"'
    [ "$(values | jq -c '.files_written')" = 1 ] || fail "$(values)"
    "$SLUICE" table rows "$DATA/tables/t" --format ndjson | jq -sc '[.[]|[.state,.day]]' >"$WORK/order"
    [ "$(cat "$WORK/order")" = "$(jq -c sort "$WORK/order")" ] || fail "not in order: $(head -c 500 "$WORK/order")"
    api GET "/v1/tables/t/rows?limit=1000"
    jq -c '.rows|sort_by(.id)' "$BODY" | cmp - "$WORK/before" || fail "the rows differ"
    # it goes on: late and new records, and the order of keys again
    printf '{"id":"k1","state":"WA"}\n{"_op":"delete","id":"k2"}\n' >"$WORK/lines.ndjson"
    post t "$WORK/lines.ndjson"
    expect_status 200
    api POST /v1/tables/t/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"k1"},{"id":"k2"},{"id":"k3"}]}'
    expect '[.rows[]|.found]' '[true,false,true]'
    "$SLUICE" table optimize t --sort-by day,id --data "$DATA" --json >/dev/null 2>"$WORK/err" || fail "$(cat "$WORK/err")"
    "$SLUICE" table rows "$DATA/tables/t" --format ndjson | jq -sc '[.[]|[.day,.id]]' >"$WORK/order"
    [ "$(cat "$WORK/order")" = "$(jq -c sort "$WORK/order")" ] || fail "not in order of day: $(head -c 500 "$WORK/order")"
    for round in x tags nobody; do
        on_table optimize "{\"sort_by\":[\"$round\"]}"
        expect_status 200
        expect .result '"FAILED"'
    done
    expect .error.message '"task '"'optimize'"': /sort_by/0: the table has no such column"'
    on_table optimize '{"sort_by":"id"}'
    expect_status 422
    stop_server
    "$SLUICE" fsck --data "$DATA" || fail "fsck"
}

# Batches, restores and optimizes at once: what the feed tells of all versions makes the rows.
test_restore_beside_merges()
{
    start_server
    create t "${T%\}},\"change_feed\":true}"
    local turn poster version
    : >"$WORK/many"
    post_many()
    {
        for turn in $(seq 1 60); do
            for _ in 1 2 3 4 5; do
                echo "{\"id\":\"k$((RANDOM % 40))\",\"v\":$RANDOM}"
            done >"$WORK/many.$1"
            echo "{\"id\":\"k$((RANDOM % 40))\",\"_op\":\"delete\"}" >>"$WORK/many.$1"
            curl -sS -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/x-ndjson' \
                -H 'Prefer: wait=30' --data-binary "@$WORK/many.$1" "$URL/v1/tables/t/batches" >>"$WORK/many"
        done
    }
    local posters=()
    for poster in 1 2; do
        post_many "$poster" &
        posters+=($!)
    done
    for turn in $(seq 1 12); do
        api GET /v1/tables/t
        version=$(jq .version "$BODY")
        on_table restore "{\"version\":$((version > 15 ? version - RANDOM % 15 : 0))}"
        expect_status 200
        expect .result '"SUCCESS"'
        [ $((turn % 4)) -ne 0 ] || on_table optimize '{}'
        expect .result '"SUCCESS"'
    done
    wait "${posters[@]}"
    [ "$(sort "$WORK/many" | uniq -c | tr -s ' ')" = ' 120 200' ] || fail "answers: $(sort "$WORK/many" | uniq -c)"
    "$SLUICE" table changes t --from 0 --data "$DATA" >"$WORK/told"
    jq -n -c 'reduce inputs as $c ({}; ([$c.id,$c.v]|tojson) as $k | .[$k] += (if ($c._change_type|inside("insert update_postimage")) then 1 else -1 end))
        | to_entries | map(select(.value!=0)) | map([(.key|fromjson),.value]) | sort' "$WORK/told" >"$WORK/made"
    "$SLUICE" table rows t --data "$DATA" | jq -s -c 'map([[.id,.v],1])|sort' >"$WORK/are"
    cmp -s "$WORK/made" "$WORK/are" || fail "the feed makes $(cat "$WORK/made"), the rows are $(cat "$WORK/are")"
    stop_server
    "$SLUICE" fsck --data "$DATA" >/dev/null || fail "fsck"
}
