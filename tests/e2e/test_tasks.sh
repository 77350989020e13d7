# What tasks do with tables: exports, checks, maintenance, calls.
# shellcheck shell=bash

# shellcheck source=tests/e2e/test_runs.sh
. "$here/test_runs.sh" # its verbs

MEMBERS='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"zip","type":"string"},{"name":"age","type":"integer"},{"name":"updated_at","type":"timestamp","nullable":false}]},"key":["id"],"sequence_by":"updated_at"}'
PLAIN='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"zip","type":"string"},{"name":"age","type":"integer"}]},"key":["id"]}'

# task TYPE BODY: the one task of a job, started and awaited; its values are in $WORK/values
task()
{
    make_job "{\"name\":\"t\",\"tasks\":[{\"task_key\":\"t\",\"type\":\"$1\",\"$1\":$2}]}"
    start
    wait_for run_is .state TERMINATED || fail "the run does not end"
    jq '.tasks[0].values' "$BODY" >"$WORK/values"
}

# value JQ EXPECTED
value()
{
    local got
    got=$(jq -c "$1" "$WORK/values")
    [ "$got" = "$2" ] || fail "expected $1 of $(jq -c . "$WORK/values") to be $2"
}

# members FIRST LAST AT: records of members as NDJSON, every third without a ZIP
members()
{
    seq "$1" "$2" | awk -v at="$3" '{
        printf "{\"id\":\"m%05d\",\"zip\":%s,\"age\":%d,\"updated_at\":\"%s\"}\n", $1, $1 % 3 ? "\"02139\"" : "null", $1 % 130, at }'
}

rows_are()
{
    api GET "/v1/tables/$1"
    expect .rows "$2"
}

# ---- exports ----

test_an_export_is_ordered_and_repeats_whatever_the_files()
{
    mkdir "$WORK/out"
    start_server --export-roots "$WORK/out"
    create members "$MEMBERS"
    members 1 900 2026-01-01T00:00:00Z | sort -R >"$WORK/a"
    members 400 1200 2026-01-02T00:00:00Z | sort -R >"$WORK/b"
    post members "$WORK/a"
    post members "$WORK/b"
    expect_status 200
    task export '{"table":"members","format":"csv","columns":["id","age"],"filters":[{"column":"age","operator":"ge","value":100}],"destination":{"type":"file","path":"old.csv"}}'
    expect .result '"SUCCESS"'
    seq 1 1200 | awk 'BEGIN { printf "id,age\r\n" } $1 % 130 >= 100 { printf "m%05d,%d\r\n", $1, $1 % 130 }' >"$WORK/expected"
    cmp "$WORK/expected" "$WORK/out/old.csv" || fail "not the rows that were asked for, in order of the key"
    value .rows "$(($(wc -l <"$WORK/expected") - 1))"
    value .bytes "$(stat -c %s "$WORK/out/old.csv")"
    value .version 2
    [ "$(stat -c %a "$WORK/out/old.csv")" = 600 ] || fail "an export is for its owner"
    for form in ndjson:none ndjson:gzip csv:zstd parquet:none; do
        for copy in one two; do
            task export "{\"table\":\"members\",\"format\":\"${form%:*}\",\"compression\":\"${form#*:}\",\"version\":2,\"destination\":{\"type\":\"file\",\"path\":\"$WORK/out/$copy\"}}"
            expect .result '"SUCCESS"'
            if [ "$copy" = one ]; then # files are cut anew in between
                task optimize '{"table":"members"}'
                members 5000 5002 2026-01-03T00:00:00Z >"$WORK/more"
                post members "$WORK/more"
            fi
        done
        cmp "$WORK/out/one" "$WORK/out/two" || fail "$form: another file the second time"
    done
    # a JSON object a line, each with every member
    task export '{"table":"members","format":"ndjson","compression":"gzip","version":2,"destination":{"type":"file","path":"x.gz"}}'
    [ "$(zcat "$WORK/out/x.gz" | jq -c 'keys|length' | sort | uniq -c | tr -s ' ')" = " 1200 4" ] || fail "not 1200 rows of four members"
    zcat "$WORK/out/x.gz" | jq -r .id >"$WORK/ids"
    LC_ALL=C sort -c "$WORK/ids" || fail "not in order of the key"
    # what was exported can be brought in again
    create again "$MEMBERS"
    zcat "$WORK/out/x.gz" >"$WORK/back"
    post again "$WORK/back"
    expect .records.accepted 1200
    grep -q 'table.export' "$DATA"/audit/* || fail "exports are not in the audit trail"
    stop_server
}

test_an_export_goes_to_a_server_once_whatever_it_answers()
{
    start_receiver
    start_server --outgoing-allow "${CALL#http://}"
    create members "$MEMBERS"
    members 1 500 2026-01-01T00:00:00Z >"$WORK/a"
    post members "$WORK/a"
    api PUT /v1/secrets/hook -H 'Content-Type: application/json' --data-binary '{"value":"s3cret"}'
    echo 503 >"$RECEIVER/answer"
    make_job "{\"name\":\"t\",\"tasks\":[{\"task_key\":\"t\",\"type\":\"export\",\"max_retries\":20,\"min_retry_interval_millis\":10,\"export\":{\"table\":\"members\",\"format\":\"csv\",\"compression\":\"gzip\",
        \"destination\":{\"type\":\"http\",\"url\":\"$CALL/put?x=1\",\"auth\":{\"type\":\"bearer\",\"token\":\"{{secrets.hook}}\"}}}}]}"
    start
    wait_for test -s "$RECEIVER/0002.body" || fail "it did not try again"
    members 501 600 2026-01-01T00:00:00Z >"$WORK/b" # the version is pinned
    post members "$WORK/b"
    echo 201 >"$RECEIVER/answer"
    ended SUCCESS
    local first=$RECEIVER/0001 body
    for body in "$RECEIVER"/*.body; do
        cmp "$first.body" "$body" || fail "another body the next time"
        diff <(grep -i '^idempotency-key:' "$first.head") <(grep -i '^idempotency-key:' "${body%.body}.head") || fail "another key"
    done
    grep -q '^PUT /put?x=1 ' "$first.head" || fail "no PUT"
    grep -qi '^authorization: bearer s3cret' "$first.head" || fail "no secret"
    grep -qi '^content-encoding: gzip' "$first.head" || fail "no encoding"
    grep -qi '^content-type: text/csv' "$first.head" || fail "no type"
    grep -qi "^content-length: $(stat -c %s "$first.body")" "$first.head" || fail "no length"
    [ "$(zcat "$first.body" | wc -l)" = 501 ] || fail "not the version of the first attempt"
    ! grep -rq s3cret "$DATA" "$LOG" || fail "the secret lies about"
    stop_server
}

test_an_export_keeps_to_its_roots_and_says_what_is_wrong()
{
    mkdir "$WORK/out"
    start_server --export-roots "$WORK/out"
    create members "$MEMBERS"
    local place
    for place in ../x /etc/x "$WORK/data/tables/members/x"; do
        task export "{\"table\":\"members\",\"format\":\"csv\",\"destination\":{\"type\":\"file\",\"path\":\"$place\"}}"
        expect .result '"FAILED"'
        expect '.tasks[0].attempts[0].error.code' '"forbidden"'
    done
    task export '{"table":"members","format":"csv","version":7,"destination":{"type":"file","path":"x"}}'
    expect .result '"FAILED"'
    task export '{"table":"members","format":"csv","columns":["zip"],"destination":{"type":"file","path":"x"}}'
    expect .result '"FAILED"'
    [ -z "$(ls -A "$WORK/out")" ] || fail "something was left behind"
    stop_server
}
