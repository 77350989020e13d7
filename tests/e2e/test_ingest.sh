# Ingest tasks: files below a source root and services page by page, into tables, once.
# shellcheck shell=bash

# shellcheck source=tests/e2e/test_tasks.sh
. "$here/test_tasks.sh" # its verbs

# ingest_file TABLE PATH [MEMBERS]: run to its end
ingest_file()
{
    task ingest "{\"table\":\"$1\",\"source\":{\"type\":\"file\",\"path\":\"$2\"}${3:+,$3}}"
}

test_files_enter_once_whatever_their_form()
{
    mkdir "$WORK/drop"
    start_server --source-roots "$WORK/drop"
    create members "$PLAIN"
    seq 1 3000 | awk '{ printf "{\"id\":\"m%05d\",\"zip\":\"02139\",\"age\":%d}\n", $1, $1 % 130 }' >"$WORK/drop/a.ndjson"
    { echo id,zip,age && seq 3001 5000 | awk '{ printf "m%05d,02139,%d\n", $1, $1 % 130 }'; } | gzip >"$WORK/drop/b"
    seq 5001 6000 | awk '{ printf "{\"id\":\"m%05d\",\"zip\":null,\"age\":1}\n", $1 }' | jq -s . >"$WORK/drop/c.txt"
    ingest_file members '*' '"piece_records":700'
    expect .result '"SUCCESS"'
    value '[.received,.accepted,.rejected,.files,.files_skipped]' '[6000,6000,0,3,0]'
    rows_are members 6000
    value .version "$(api GET /v1/tables/members && jq .version "$BODY")"
    ingest_file members '*' '"piece_records":700' # the same again brings nothing
    expect .result '"SUCCESS"'
    value '[.received,.files,.files_skipped]' '[0,3,3]'
    rows_are members 6000
    echo '{"id":"m00001","zip":"99999","age":2}' >"$WORK/drop/d" # one more
    ingest_file members '*'
    value '[.received,.files_skipped]' '[1,3]'
    send POST /v1/tables/members/lookup '{"keys":[{"id":"m00001"}]}'
    expect '.rows[0].row.zip' '"99999"'
    stop_server
}

test_bad_records_are_kept_and_too_many_fail()
{
    mkdir "$WORK/drop"
    start_server --source-roots "$WORK/drop"
    create members "$PLAIN"
    { seq 1 500 | sed 's/.*/{"id":"m&","zip":"02139","age":1}/' && echo '{"id":"bad","age":"old"}' && echo '{"id"'; } >"$WORK/drop/a"
    ingest_file members a
    expect .result '"SUCCESS"'
    value '[.received,.accepted,.rejected]' '[502,500,2]'
    late ingest '{"table":"members","source":{"type":"file","path":"{{job.parameters.place}}"}}' ../a
    expect .result '"FAILED"'
    expect '.tasks[0].attempts[0].error.code' '"forbidden"'
    ln -s /etc/passwd "$WORK/drop/link"
    ingest_file members link
    expect .result '"FAILED"'
    ingest_file members nowhere
    expect .result '"FAILED"'
    expect '.tasks[0].attempts[0].error.code' '"not_found"'
    rows_are members 500
    stop_server
}

test_a_killed_ingest_goes_on_where_it_was()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of real records"
    mkdir "$WORK/drop"
    cp "$SLUICE_TEST_DATA/health/synthea/patients_22948.csv.gz" "$WORK/drop/patients.csv.gz"
    start_server --source-roots "$WORK/drop"
    zcat "$WORK/drop/patients.csv.gz" | sed -n '1,2001p' >"$WORK/sample.csv"
    api POST /v1/infer -H 'Content-Type: text/csv' --data-binary "@$WORK/sample.csv"
    create patients "$(jq -c .definition "$BODY")"
    create log "$(jq -c '.definition|del(.key)|.merge="append"' "$BODY")"
    make_job '{"name":"load","tasks":[
        {"task_key":"a","type":"ingest","ingest":{"table":"patients","source":{"type":"file","path":"*.gz"},"piece_records":500}},
        {"task_key":"b","type":"ingest","ingest":{"table":"log","source":{"type":"file","path":"*.gz"},"piece_records":500}}]}'
    start
    local i
    for i in 1 2 3 4 5; do
        read -r -t "0.$((i * 7 % 10))" <>"$WORK/never" || true
        kill_server
        start_server --source-roots "$WORK/drop"
    done
    ended SUCCESS
    rows_are patients 22948
    rows_are log 22948
    jq -e '.tasks|length == 2' <(api GET "/v1/runs/$RUN" && cat "$BODY") >/dev/null || fail "other tasks"
    stop_server
}

# serve SCRIPT: the lying server, its address in $SERVICE
serve()
{
    printf '%s\n' "$1" >"$WORK/script"
    "$TOOLS/lying_server" "$WORK/script" "$WORK/port" "$WORK/requests" &
    SERVICE_PID=$!
    trap 'kill -KILL $SERVICE_PID $SERVER_PID 2>/dev/null || true' EXIT
    mkfifo "$WORK/never" 2>/dev/null || true
    wait_for test -s "$WORK/port" || fail "the service did not come up"
    SERVICE=127.0.0.1:$(cat "$WORK/port")
}

test_a_service_is_read_page_by_page()
{
    local page
    for page in 1 2 3; do
        seq $((page * 100)) $((page * 100 + 99)) | jq -c '{id:"m\(.)",zip:"02139",age:1}' |
            jq -s --arg next "$page" '{items:.,next:(if $next == "3" then null else $next end)}' >"$WORK/page$page"
    done
    serve "/members 200 file=$WORK/page1 type=application/json etag=\"v1\"
/members?cursor=1 200 file=$WORK/page2 type=application/json
/members?cursor=2 503
/members?cursor=2 200 file=$WORK/page3 type=application/json"
    start_server --outgoing-allow "$SERVICE"
    create members "$PLAIN"
    task ingest "{\"table\":\"members\",\"source\":{\"type\":\"http\",\"url\":\"http://$SERVICE/members\",\"records\":\"/items\",
        \"paging\":{\"type\":\"cursor\",\"cursor\":\"/next\"}}}"
    expect .result '"SUCCESS"'
    value '[.received,.accepted,.pieces]' '[300,300,3]'
    rows_are members 300
    stop_server
}

test_a_table_is_followed_version_by_version()
{
    mkdir "$WORK/drop"
    start_server --source-roots "$WORK/drop"
    create members "$PLAIN"
    create copy "$PLAIN"
    create outside "$PLAIN"
    seq 1 500 | jq -c '{id:"m\(.)",zip:"02139",age:1}' >"$WORK/a.ndjson"
    post members "$WORK/a.ndjson"
    expect_status 200
    task ingest '{"table":"copy","source":{"type":"table","table":"members"},"piece_records":150}'
    expect .result '"SUCCESS"'
    value '[.received,.accepted,.pieces,.source_version]' '[500,500,4,1]'
    printf '%s\n' '{"id":"m1","zip":"99999","age":2}' '{"_op":"delete","id":"m2"}' >"$WORK/b.ndjson"
    post members "$WORK/b.ndjson"
    expect_status 200
    task optimize '{"table":"members"}' # changes no row
    kill_server
    start_server --source-roots "$WORK/drop"
    task ingest '{"table":"copy","source":{"type":"table","table":"members"}}'
    value '[.received,.accepted]' '[2,2]'
    rows_are copy 499
    send POST /v1/tables/copy/lookup '{"keys":[{"id":"m1"},{"id":"m2"}]}'
    expect '[.rows[] | .row.zip]' '["99999",null]'
    cp -r "$DATA/tables/members" "$WORK/drop/shared" # as a stranger's table
    task ingest '{"table":"outside","source":{"type":"table","path":"shared"}}'
    expect .result '"SUCCESS"'
    value .accepted 499
    ln -s "$DATA/tables/members" "$WORK/drop/link"
    task ingest '{"table":"outside","source":{"type":"table","path":"link"}}'
    expect .result '"FAILED"'
    expect '.tasks[0].attempts[0].error.code' '"forbidden"'
    stop_server
}

# feed_page FILE FIRST NEXT: a page of a hundred records from m<FIRST> on
feed_page()
{
    seq "$2" $(($2 + 99)) | jq -c '{id:"m\(.)",zip:"02139",age:1}' | jq -s --argjson next "$3" '{items:.,next:$next}' >"$WORK/$1"
}

# A failed run waits for no merge.
rows_come_to()
{
    api GET "/v1/tables/$1"
    [ "$(jq -r '[.rows,.queued_batches]|join(" ")' "$BODY")" = "$2 0" ]
}

# breaker_is STATE: of the one service
breaker_is()
{
    api GET /v1/breakers
    [ "$(jq -r '.breakers[0].state' "$BODY")" = "$1" ]
}

# The issue's liar: every lie once, into an append table, where a record lost or doubled shows.
test_a_lying_service_loses_and_doubles_nothing()
{
    local page
    for page in 1 2 3 4 5; do feed_page "page$page" $((page * 100)) "$page"; done
    feed_page page6 600 null
    jq '.next=5' "$WORK/page4" >"$WORK/page4again"
    serve "/feed 429 retry-after=1
/feed 200 file=$WORK/page1 type=application/json etag=\"a\"
/feed?cursor=1 500
/feed?cursor=1 502 body=<html>
/feed?cursor=1 200 file=$WORK/page2 type=application/json
/feed?cursor=2 hang
/feed?cursor=2 200 file=$WORK/page3 type=application/json
/feed?cursor=3 200 file=$WORK/page4 type=application/json cut=700
/feed?cursor=3 200 file=$WORK/page4 type=application/json chunked=100 cut=2000
/feed?cursor=3 200 file=$WORK/page4 type=application/json etag=\"b\"
/feed?cursor=4 200 file=$WORK/page4again type=application/json
/feed?cursor=4 200 file=$WORK/page5 type=application/json
/feed?cursor=5 302 location=http://127.0.0.2:%PORT%/feed?cursor=5
/feed?cursor=5 reset
/feed?cursor=5 garbage
/feed?cursor=5 503
/feed?cursor=5 500
/feed?cursor=5 close
/feed?cursor=5 200 file=$WORK/page6 type=application/json"
    start_server --outgoing-allow "$SERVICE"
    create feed '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"zip","type":"string"},{"name":"age","type":"integer"}]},"merge":"append"}'
    make_job "{\"name\":\"pull\",\"tasks\":[{\"task_key\":\"t\",\"type\":\"ingest\",\"max_retries\":3,\"min_retry_interval_millis\":100,\"ingest\":{
        \"table\":\"feed\",\"piece_records\":30,\"source\":{\"type\":\"http\",\"url\":\"http://$SERVICE/feed\",\"records\":\"/items\",\"timeout_seconds\":1,
        \"paging\":{\"type\":\"cursor\",\"cursor\":\"/next\"}}}}]}"
    start
    ended FAILED # for one lie no trying helps: a redirect to an address that nobody allowed
    expect '.tasks[0].attempts[-1].error.code' '"forbidden"'
    wait_for rows_come_to feed 500 || fail "records were lost"
    expect '.rows' 500
    breaker_is closed || fail "a redirect is no failure of the service"
    start # goes on behind page 5; five failures in a row open the breaker, one probe closes it
    wait_for breaker_is open || fail "the breaker stays closed after five failures"
    expect '.breakers[0].failures_in_a_row' 5
    wait_for run_is .state TERMINATED || fail "the run does not end"
    expect .result '"SUCCESS"'
    breaker_is closed || fail "the breaker does not close after the recovery"
    rows_are feed 600
    api GET "/v1/tables/feed/rows?limit=1000&columns=id"
    [ "$(jq -r '.rows[].id' "$BODY" | sort | uniq -c | awk '$1 != 1' | wc -l)" = 0 ] || fail "records were doubled"
    start # a feed that only grows: nothing new, nothing twice
    ended SUCCESS
    rows_are feed 600
    stop_server
}

# A table of Spark whose columns have other names in its files: taken by the names it shows.
test_a_table_that_maps_columns_is_a_source()
{
    local archive=${SLUICE_TEST_DATA:-}/delta-golden/table-with-columnmapping-mode-name.tar.zst
    [ -e "$archive" ] || skip "set SLUICE_TEST_DATA to the folder of other engines' tables"
    mkdir "$WORK/drop"
    zstd -qdc "$archive" | tar -xf - -C "$WORK/drop" 2>/dev/null
    start_server --source-roots "$WORK/drop"
    create copy '{"schema":{"fields":[{"name":"StringType","type":"string"},{"name":"IntegerType","type":"integer"},{"name":"DateType","type":"date"}]},"merge":"append"}'
    local source='"source":{"type":"table","path":"table-with-columnmapping-mode-name/delta","columns":["StringType","IntegerType","DateType"]}'
    task ingest "{\"table\":\"copy\",$source}"
    expect .result '"SUCCESS"'
    value '[.received,.accepted]' '[6,6]'
    api GET '/v1/tables/copy/rows'
    [ "$(jq -c '[.rows[].IntegerType] | sort' "$BODY")" = '[null,0,1,2,3,4]' ] || fail "$(cat "$BODY")"
    task ingest "{\"table\":\"copy\",$source}" # the same version again brings nothing
    value .received 0
    stop_server
}
