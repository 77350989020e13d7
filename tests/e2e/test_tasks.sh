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

# late TYPE BODY PLACE: as task; the body knows the place as {{job.parameters.place}}, in the run only
late()
{
    make_job "{\"name\":\"t\",\"parameters\":[{\"name\":\"place\",\"default\":\"$3\"}],\"tasks\":[{\"task_key\":\"t\",\"type\":\"$1\",\"$1\":$2}]}"
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
        late export '{"table":"members","format":"csv","destination":{"type":"file","path":"{{job.parameters.place}}"}}' "$place"
        expect .result '"FAILED"'
        expect '.tasks[0].attempts[0].error.code' '"forbidden"'
    done
    task export '{"table":"members","format":"csv","version":7,"destination":{"type":"file","path":"x"}}'
    expect .result '"FAILED"'
    late export '{"table":"members","format":"csv","columns":["{{job.parameters.place}}"],"destination":{"type":"file","path":"x"}}' zip
    expect .result '"FAILED"'
    [ -z "$(ls -A "$WORK/out")" ] || fail "something was left behind"
    stop_server
}

# ---- checks ----

# finding NAME MEMBER EXPECTED: of one expectation
finding()
{
    value "[.results[] | select(.name == \"$1\")][0].$2" "$3"
}

# check TABLE EXPECTATIONS [MORE]
check()
{
    task check "{\"table\":\"$1\",\"expectations\":$2${3:+,$3}}"
}

test_a_check_counts_what_falls_short()
{
    start_server
    create members "$MEMBERS"
    create plain "$PLAIN"
    create log '{"schema":{"fields":[{"name":"id","type":"string"},{"name":"day","type":"date"}]}}'
    members 1 900 2026-01-01T00:00:00Z >"$WORK/a"
    post members "$WORK/a"
    jq -c '{id,zip,age}' "$WORK/a" | sed -n 1,800p >"$WORK/b"
    post plain "$WORK/b"
    { cat "$WORK/b" && head -10 "$WORK/b"; } | jq -c "{id,day:\"$(date -u -d '3 days ago' +%F)\"}" >"$WORK/c"
    post log "$WORK/c" -H "Idempotency-Key: one"
    expect_status 200
    check members '[{"type":"not_null","column":"zip","action":"warn"},
        {"type":"range","column":"age","minimum":10,"maximum":99,"action":"warn"},
        {"type":"pattern","column":"id","pattern":"m00[0-4][0-9][0-9]","action":"warn"},
        {"type":"enum","column":"zip","values":["02139"],"action":"warn"},
        {"type":"format","column":"zip","format":"zip","action":"warn"},
        {"type":"unique","column":"id","action":"warn"},
        {"name":"twice","type":"unique","column":"age","action":"warn"},
        {"type":"foreign_key","column":"id","references":{"table":"plain"},"action":"warn"},
        {"name":"by value","type":"foreign_key","column":"age","references":{"table":"plain","column":"age"},"action":"warn"},
        {"name":"few","type":"row_count","maximum":899,"action":"warn"},
        {"type":"freshness","max_age_seconds":60,"action":"warn"},
        {"name":"old","type":"freshness","column":"updated_at","max_age_seconds":60,"action":"warn"}]'
    expect .result '"SUCCESS"'
    value .passed false
    value .rows_judged 900
    finding 'not_null zip' violations 300
    finding 'range age' violations "$(seq 1 900 | awk '{ a = $1 % 130 } a < 10 || a > 99' | wc -l)"
    finding 'pattern id' violations 401
    finding 'enum zip' judged 600
    finding 'enum zip' violations 0
    finding 'format zip' violations 0
    finding 'unique id' violations 0
    finding twice violations 770
    finding 'foreign_key id' violations 100
    finding 'by value' violations 0
    finding few rows 900
    finding few violations 1
    finding 'freshness' violations 0
    finding old violations 1
    finding 'not_null zip' 'examples | length' 10
    finding 'not_null zip' 'examples[0].pointer' '"/zip"'
    ! grep -q 02139 "$WORK/values" || fail "a value of a row is in the report"
    rows_are members 900
    # append tables can be judged, and a date column tells their age
    check log '[{"type":"unique","column":"id","action":"warn"},{"type":"freshness","column":"day","max_age_seconds":345600,"action":"fail"},
        {"type":"row_count","minimum":810,"maximum":810,"action":"fail"}]'
    expect .result '"SUCCESS"'
    finding 'unique id' violations 10
    check log '[{"type":"freshness","column":"day","max_age_seconds":172800,"action":"fail"}]'
    expect .result '"FAILED"'
    finding 'freshness day' violations 1
    check log '[{"type":"not_null","column":"id","action":"drop"}]'
    expect .result '"FAILED"'
    expect '.tasks[0].attempts[0].error.message | startswith("/expectations: table")' true
    stop_server
}

test_a_check_takes_rows_out_once()
{
    start_server
    create members "$MEMBERS"
    create plain "$PLAIN"
    local table
    for table in members plain; do
        members 1 900 2026-01-01T00:00:00Z >"$WORK/a"
        jq -c "if \"$table\" == \"plain\" then del(.updated_at) else . end" "$WORK/a" >"$WORK/b"
        post $table "$WORK/b"
        # a failed expectation leaves all rows
        check $table '[{"type":"not_null","column":"zip","action":"drop"},{"type":"range","column":"age","maximum":120,"action":"fail"}]'
        expect .result '"FAILED"'
        expect '.tasks[0].attempts | length' 1
        value .rows_removed 0
        rows_are $table 900
        check $table '[{"type":"not_null","column":"zip","action":"drop"}]'
        expect .result '"SUCCESS"'
        value .rows_removed 300
        value .rows_kept 0
        rows_are $table 600
        check $table '[{"type":"not_null","column":"zip","action":"fail"}]'
        expect .result '"SUCCESS"'
        # put aside, looked at, mended, brought back: with the same sequence
        check $table '[{"name":"young","type":"range","column":"age","maximum":99,"action":"quarantine"}]'
        expect .result '"SUCCESS"'
        local count
        count=$(jq .rows_removed "$WORK/values")
        [ "$count" -gt 50 ] || fail "no rows went"
        rows_are $table $((600 - count))
        api GET "/v1/dead-letters?table=$table&limit=1000"
        expect '[.dead_letters[] | .code] | unique' '["expectation"]'
        expect '.dead_letters | length' "$count"
        local letter
        letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
        api GET "/v1/dead-letters/$letter"
        expect '.payload | fromjson | .age > 99' true
        jq '{record:(.payload | fromjson | .age = 50)}' "$BODY" >"$WORK/mended"
        api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' --data-binary "@$WORK/mended"
        expect_status 200
        rows_are $table $((600 - count + 1))
        # a row that comes again later is not hit by what was judged before
        members 3 3 2026-01-05T00:00:00Z | jq -c "if \"$table\" == \"plain\" then del(.updated_at) else . end" >"$WORK/c"
        post $table "$WORK/c"
        rows_are $table $((600 - count + 2))
    done
    grep -q 'rows.remove' "$DATA"/audit/* || fail "removals are not in the audit trail"
    stop_server
}

test_a_check_finds_the_blank_zips_of_real_members()
{
    local file=${SLUICE_TEST_DATA:-}/health/synthea/patients_22948.csv.gz
    [ -f "$file" ] || skip "set SLUICE_TEST_DATA to the folder of real records"
    start_server
    zcat "$file" | sed -n 1p | tr -d '\r' | jq -R '{schema:{fields:(split(",")|map({name:.,type:"string",nullable:(.!="Id")}))},key:["Id"]}' >"$WORK/definition"
    create members "$(cat "$WORK/definition")"
    post members "$file" -H 'Content-Encoding: gzip' -H 'Content-Type: text/csv'
    check members '[{"type":"not_null","column":"ZIP","action":"warn"},{"type":"unique","column":"Id","action":"fail"},{"type":"row_count","minimum":22948,"maximum":22948,"action":"fail"}]'
    expect .result '"SUCCESS"'
    finding 'not_null ZIP' judged 22948
    finding 'not_null ZIP' violations 10701
    check members '[{"type":"not_null","column":"ZIP","action":"quarantine"}]'
    expect .result '"SUCCESS"'
    value .rows_removed 10701
    rows_are members 12247
    stop_server
}

# Other rows may fall short: only those that the run brought are judged, whoever merges them.
test_a_check_of_a_run_sees_what_it_brought()
{
    mkdir "$WORK/in"
    start_server --source-roots "$WORK/in"
    local table form
    for table in plain copied log; do
        case $table in
        plain) form=$PLAIN ;;
        copied) form=$(jq -c '. + {merge: "copy-on-write", partition_by: ["zip"]}' <<<"$PLAIN") ;;
        log) form=$(jq -c 'del(.key)' <<<"$PLAIN") ;;
        esac
        create $table "$form"
        members 1 3000 x | sed 's/,"updated_at":"x"//' >"$WORK/a"
        post $table "$WORK/a" -H "Idempotency-Key: $table"
        expect_status 200
        members 2700 6000 x | sed 's/,"updated_at":"x"//' >"$WORK/in/$table.ndjson"
        make_job "{\"name\":\"t\",\"tasks\":[
            {\"task_key\":\"load\",\"type\":\"ingest\",\"ingest\":{\"table\":\"$table\",\"piece_records\":1000,\"source\":{\"type\":\"file\",\"path\":\"$table.ndjson\"}}},
            {\"task_key\":\"check\",\"type\":\"check\",\"depends_on\":[{\"task_key\":\"load\"}],\"check\":{\"table\":\"$table\",\"scope\":\"run\",\"expectations\":[
                {\"type\":\"not_null\",\"column\":\"zip\",\"action\":\"warn\"},
                {\"type\":\"range\",\"column\":\"age\",\"maximum\":120,\"action\":\"warn\"},
                {\"type\":\"row_count\",\"minimum_change_percent\":-10,\"maximum_change_percent\":50,\"action\":\"warn\"}]}},
            {\"task_key\":\"clean\",\"type\":\"check\",\"depends_on\":[{\"task_key\":\"check\"}],\"check\":{\"table\":\"$table\",\"scope\":\"run\",\"expectations\":[
                {\"type\":\"not_null\",\"column\":\"zip\",\"action\":\"drop\"}]}}]}"
        start
        wait_for run_is .state TERMINATED || fail "the run does not end"
        cp "$BODY" "$WORK/run"
        jq '.tasks[] | select(.task_key == "check") | .values' "$WORK/run" >"$WORK/values"
        if [ $table != copied ]; then # in which rows of others are in the files, too
            value .rows_judged 3301
            finding 'not_null zip' violations "$(seq 2700 6000 | awk '$1 % 3 == 0' | wc -l)"
            finding 'range age' violations "$(seq 2700 6000 | awk '$1 % 130 > 120' | wc -l)"
        fi
        finding row_count earlier_rows 3000
        finding row_count violations 1
        jq '.tasks[] | select(.task_key == "clean") | .values' "$WORK/run" >"$WORK/values"
        case $table in
        plain)
            value .rows_removed 1101
            rows_are $table $((6000 - 1101)) ;;
        copied) rows_are $table "$((6000 - $(jq .rows_removed "$WORK/values")))" ;;
        log) [ "$(jq -r .result "$WORK/run")" = FAILED ] || fail "took rows out of a table without a key" ;;
        esac
        # the same file again brings nothing: there is nothing to judge
        start
        wait_for run_is .state TERMINATED || fail "the second run does not end"
        jq '.tasks[] | select(.task_key == "check") | .values' "$BODY" >"$WORK/values"
        value .rows_judged 0
    done
    stop_server
}

# ---- maintenance ----

test_maintenance_on_demand()
{
    start_server
    create members "$MEMBERS"
    local i
    for i in 1 2 3 4 5 6; do
        members $((i * 100)) $((i * 100 + 150)) "2026-01-0${i}T00:00:00Z" >"$WORK/a"
        post members "$WORK/a"
    done
    rows_are members 651
    late export '{"table":"members","format":"csv","destination":{"type":"file","path":"{{job.parameters.place}}"}}' x
    expect .result '"FAILED"' # no roots, nowhere to go
    task optimize '{"table":"members"}'
    expect .result '"SUCCESS"'
    api GET /v1/tables/members
    expect .files 1
    rows_are members 651
    task optimize '{"table":"members"}'
    value .files_removed 0
    task vacuum '{"table":"members","dry_run":true,"retention_seconds":3600}'
    expect .result '"SUCCESS"'
    value .dry_run true
    value .files_removed 0 # all are young
    task vacuum '{"table":"members","retention_seconds":60}'
    expect .result '"FAILED"'
    # a file that nobody knows, from a writer that died
    local folder orphan
    folder=$(dirname "$(find "$DATA/tables" -name '*.parquet' | sed -n 1p)")
    orphan=$folder/00000000-dead-beef.parquet
    head -c 1000 /dev/zero >"$orphan"
    task vacuum '{"table":"members","retention_seconds":3600}'
    [ -e "$orphan" ] || fail "a young file went"
    touch -d '3 days ago' "$orphan"
    task vacuum '{"table":"members","dry_run":true,"retention_seconds":3600}'
    value .files_removed 1
    [ -e "$orphan" ] || fail "a dry run removed something"
    task vacuum '{"table":"members","retention_seconds":3600}'
    expect .result '"SUCCESS"'
    value .files_removed 1
    value .bytes_removed 1000
    [ ! -e "$orphan" ] || fail "it is still there"
    rows_are members 651
    stop_server
}

# ---- calls ----

test_a_call_takes_values_from_the_answer()
{
    start_receiver
    start_server --outgoing-allow "${CALL#http://}"
    echo '{"job":{"state":"done","rows":[{"n":7},{"n":8.25}]}}' >"$RECEIVER/content"
    echo 200 >"$RECEIVER/answer"
    make_job "{\"name\":\"t\",\"tasks\":[
        {\"task_key\":\"ask\",\"type\":\"http_request\",\"http_request\":{\"method\":\"GET\",\"url\":\"$CALL/ask\",\"headers\":{\"Accept\":\"application/json\"},
            \"values\":{\"state\":\"/job/state\",\"n\":\"/job/rows/1/n\"}}},
        {\"task_key\":\"tell\",\"type\":\"http_request\",\"depends_on\":[{\"task_key\":\"ask\"}],\"http_request\":{\"url\":\"$CALL/tell\",
            \"body\":{\"state\":\"{{tasks.ask.values.state}}\"},\"expect_status\":[200,202]}}]}"
    start
    ended SUCCESS
    expect '[.tasks[] | select(.task_key == "ask")][0].values' '{"status":200,"state":"done","n":8.25}'
    grep -qi '^accept: application/json' "$RECEIVER/0001.head" || fail "no header"
    ! grep -qi '^idempotency-key' "$RECEIVER/0001.head" || fail "a key of a read"
    jq -e ".state == \"done\"" "$RECEIVER/0002.body" >/dev/null || fail "the value did not get there"
    grep -qi "^idempotency-key: [0-9a-f-]*/$RUN/tell" "$RECEIVER/0002.head" || fail "no key: $(cat "$RECEIVER/0002.head")"
    # a status that is not expected, a value that is not there: wrong for good
    task http_request "{\"url\":\"$CALL/\",\"expect_status\":[201]}"
    expect .result '"FAILED"'
    expect '.tasks[0].attempts | length' 1
    task http_request "{\"url\":\"$CALL/\",\"values\":{\"x\":\"/job/none\"}}"
    expect .result '"FAILED"'
    # nobody may call what is not allowed
    task http_request '{"url":"http://127.0.0.1:1/"}'
    expect .result '"FAILED"'
    stop_server
}

# ---- kills ----

nap()
{
    read -r -t "$1" <>"$WORK/never" || true
}

# Killed at any moment, the same rows leave and the same file comes of it, and what was posted
# meanwhile stays.
test_killed_checks_and_exports_end_as_others()
{
    mkdir "$WORK/out"
    start_server --export-roots "$WORK/out"
    create plain "$PLAIN"
    members 1 180000 x | sed 's/,"updated_at":"x"//' | sort -R >"$WORK/a"
    post plain "$WORK/a"
    expect_status 200
    make_job '{"name":"t","tasks":[
        {"task_key":"before","type":"export","max_retries":50,"min_retry_interval_millis":1,"export":{"table":"plain","format":"ndjson","version":1,"destination":{"type":"file","path":"before"}}},
        {"task_key":"check","type":"check","depends_on":[{"task_key":"before"}],"max_retries":50,"min_retry_interval_millis":1,"check":{"table":"plain","expectations":[
            {"name":"zip","type":"not_null","column":"zip","action":"drop"},
            {"name":"old","type":"range","column":"age","maximum":128,"action":"quarantine"}]}}]}'
    start
    local kills
    for kills in 03 07 15 20 25 30 40 50; do # fewer than make a task poison
        nap "0.$kills"
        if [ "$kills" = 25 ]; then # mended while it is judged, or before, or after
            echo '{"id":"m00003","zip":"02139","age":3}' >"$WORK/c"
            post plain "$WORK/c"
        fi
        kill_server
        start_server --export-roots "$WORK/out"
    done
    ended SUCCESS
    task export '{"table":"plain","format":"csv","destination":{"type":"file","path":"after"}}'
    local stays
    stays=$(seq 1 180000 | awk '$1 == 3 || $1 % 3 && $1 % 130 < 129' | wc -l)
    rows_are plain "$stays"
    seq 1 180000 | awk '{ printf "{\"id\":\"m%05d\",\"zip\":%s,\"age\":%d}\n", $1, $1 % 3 ? "\"02139\"" : "null", $1 % 130 }' |
        LC_ALL=C sort >"$WORK/expected"
    LC_ALL=C sort "$WORK/out/before" | cmp "$WORK/expected" - || fail "not the rows of the first version"
    LC_ALL=C sort -c "$WORK/out/before" || fail "not in order of the key"
    [ "$(($(wc -l <"$WORK/out/after") - 1))" = "$stays" ] || fail "not the rows that stay"
    grep -q '^m00003,02139,3' "$WORK/out/after" || fail "what was posted meanwhile is gone"
    local letters=0 token=""
    while :; do
        api GET "/v1/dead-letters?table=plain&limit=1000&code=expectation${token:+&page_token=$token}"
        letters=$((letters + $(jq '.dead_letters | length' "$BODY")))
        token=$(jq -r '.next_page_token // ""' "$BODY")
        [ -n "$token" ] || break
    done
    [ "$letters" = "$(seq 1 180000 | awk '$1 % 130 == 129' | wc -l)" ] || fail "$letters dead letters"
    [ "$(find "$WORK/out" -type f | wc -l)" = 2 ] || fail "something was left behind: $(ls -A "$WORK/out")"
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}
