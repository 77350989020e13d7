# Jobs over HTTP: definitions with every fault named, versions, idempotency, who may see
# and do what, runs that are asked for and what is asked of them.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

TABLE='{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'
TIDY='{"name":"tidy","tasks":[{"task_key":"tidy","type":"optimize","optimize":{"table":"mine"}}]}'
# Its run goes on for a day: nobody listens there, and it is tried again tomorrow.
STUCK='{"name":"tidy","tasks":[{"task_key":"call","type":"http_request","http_request":{"url":"http://127.0.0.1:1/"},
    "max_retries":-1,"min_retry_interval_millis":86400000}]}'

# send METHOD PATH JSON [curl…]
send()
{
    local method=$1 path=$2 body=$3
    shift 3
    api "$method" "$path" -H 'Content-Type: application/json' --data-binary "$body" "$@"
}

# A principal with roles, and a token for it in $USER_TOKEN.
user()
{
    send POST /v1/principals "{\"name\":\"$1\",\"roles\":$2}"
    expect_status 201
    send POST /v1/tokens "{\"principal\":\"$1\"}"
    expect_status 201
    USER_TOKEN=$(jq -r .token "$BODY")
}

as()
{
    local saved=$TOKEN
    TOKEN=$1
    shift
    "$@"
    TOKEN=$saved
}

etag()
{
    grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2
}

# make_job JSON: its id in $JOB
make_job()
{
    send POST /v1/jobs "$1"
    expect_status 201
    JOB=$(jq -r .job_id "$BODY")
}

# fault POINTER CODE: among the problems of the last answer
fault()
{
    jq -e --arg pointer "$1" --arg code "$2" '.errors | any(.pointer == $pointer and .code == $code)' "$BODY" >/dev/null ||
        fail "no fault $2 at $1"
}

test_a_definition_is_refused_with_every_fault()
{
    start_server
    create mine "$TABLE"
    send POST /v1/jobs '{"name":"bad","tasks":[
        {"task_key":"a","type":"optimize","optimize":{"table":"none"},"depends_on":[{"task_key":"b"}]},
        {"task_key":"b","type":"optimize","optimize":{"table":"mine"},"depends_on":[{"task_key":"a"},{"task_key":"zz"}]},
        {"task_key":"c","type":"sql","sql":{}},
        {"task_key":"d","type":"http_request","http_request":{"url":"https://example.org/","auth":{"type":"bearer","token":"{{secrets.none}}"}}},
        {"task_key":"e","type":"run_job","run_job":{"job_id":99}},
        {"task_key":"f","type":"optimize","optimize":{"table":"mine"},"pool":"none"}],
      "schedule":{"quartz_cron_expression":"61 0 0 * * ?","timezone_id":"Mars/Phobos"},"colour":"red"}'
    expect_status 422
    expect .code '"invalid_definition"'
    fault /tasks/0/optimize/table unknown_table
    fault /tasks/1/depends_on/1/task_key unknown_task
    fault /tasks/2/type unknown_type
    fault /tasks/5/pool unknown_pool
    fault /tasks/4/run_job/job_id unknown_job
    fault /tasks/3/http_request/auth/token unknown_secret
    fault /schedule/quartz_cron_expression format
    fault /schedule/timezone_id format
    fault /colour unknown_member
    send POST /v1/jobs "${TIDY/%\}/,\"run_as\":\{\"principal\":\"nobody\"\}\}}"
    expect_status 422
    fault /run_as/principal unknown_principal
    send POST /v1/jobs '{"name":"loop","tasks":[
        {"task_key":"a","type":"optimize","optimize":{"table":"mine"},"depends_on":[{"task_key":"b"}]},
        {"task_key":"b","type":"optimize","optimize":{"table":"mine"},"depends_on":[{"task_key":"a"}]}]}'
    expect_status 422
    fault /tasks cycle
    send POST /v1/jobs '[]'
    expect_status 400
    send POST /v1/jobs '{'
    expect_status 400
    api GET /v1/jobs
    expect '.jobs | length' 0
    stop_server
}

# What would fail in every run is told at once: columns, patterns, bounds, paths, headers.
test_a_definition_is_held_against_tables_and_folders()
{
    mkdir "$WORK/drop" "$WORK/out"
    start_server --source-roots "$WORK/drop" --export-roots "$WORK/out"
    create mine '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"day","type":"date"}]},"key":["id"]}'
    send POST /v1/jobs "{\"name\":\"bad\",\"triggers\":[{\"file_arrival\":{\"path\":\"/etc\"}}],\"tasks\":[
        {\"task_key\":\"a\",\"type\":\"check\",\"check\":{\"table\":\"mine\",\"expectations\":[
            {\"name\":\"1\",\"type\":\"not_null\",\"column\":\"id\",\"action\":\"fail\"},
            {\"name\":\"2\",\"type\":\"not_null\",\"column\":\"zip\",\"action\":\"fail\"},
            {\"name\":\"3\",\"type\":\"pattern\",\"column\":\"id\",\"pattern\":\"[a-\",\"action\":\"fail\"},
            {\"name\":\"4\",\"type\":\"range\",\"column\":\"day\",\"minimum\":\"soon\",\"action\":\"fail\"}]}},
        {\"task_key\":\"b\",\"type\":\"ingest\",\"ingest\":{\"table\":\"mine\",\"source\":{\"type\":\"file\",\"path\":\"../up\"},
            \"expectations\":[{\"name\":\"5\",\"type\":\"not_null\",\"column\":\"zip\",\"action\":\"drop\"}]}},
        {\"task_key\":\"c\",\"type\":\"export\",\"export\":{\"table\":\"mine\",\"columns\":[\"id\",\"zip\"],
            \"filters\":[{\"column\":\"id\",\"operator\":\"eq\",\"value\":\"x\"},{\"column\":\"day\",\"operator\":\"lt\",\"value\":\"soon\"},{\"column\":\"zip\",\"operator\":\"is_null\"}],
            \"destination\":{\"type\":\"file\",\"path\":\"$WORK/drop/x\"}}},
        {\"task_key\":\"d\",\"type\":\"http_request\",\"http_request\":{\"url\":\"https://example.org/\",\"headers\":{\"Host\":\"other\"}}}]}"
    expect_status 422
    fault /triggers/0/file_arrival/path path
    fault /tasks/0/check/expectations/1/column column
    fault /tasks/0/check/expectations/2/pattern column
    fault /tasks/0/check/expectations/3/minimum column
    fault /tasks/1/ingest/source/path path
    fault /tasks/1/ingest/expectations/0/column column
    fault /tasks/2/export/columns/1 column
    fault /tasks/2/export/filters/1/value column
    fault /tasks/2/export/filters/2/column column
    fault /tasks/2/export/destination/path path
    fault /tasks/3/http_request/headers not_allowed
    expect '.errors | length' 11
    stop_server
}

test_jobs_do_not_run_each_other_in_circles()
{
    start_server
    make_job '{"name":"first","tasks":[{"task_key":"wait","type":"condition","condition":{"op":"EQUAL_TO","left":"1","right":"1"}}]}'
    local first=$JOB
    make_job "{\"name\":\"second\",\"tasks\":[{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$first}}]}"
    local second=$JOB
    send PUT "/v1/jobs/$first" "{\"name\":\"first\",\"tasks\":[{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$second}}]}" -H 'If-Match: *'
    expect_status 422
    jq -e '[.errors[].code] | any(. == "cycle")' "$BODY" >/dev/null || fail "a circle passed"
    send PUT "/v1/jobs/$first" "{\"name\":\"first\",\"tasks\":[{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$first}}]}" -H 'If-Match: *'
    expect_status 422
    # a circle of both kinds: one runs the other, whose end starts it
    send PATCH "/v1/jobs/$second" "{\"triggers\":[{\"job_finished\":{\"job_id\":$first}}]}" -H 'If-Match: *'
    expect_status 422
    fault /tasks/0/run_job/job_id cycle
    make_job "{\"name\":\"third\",\"tasks\":[{\"task_key\":\"wait\",\"type\":\"condition\",\"condition\":{\"op\":\"EQUAL_TO\",\"left\":\"1\",\"right\":\"1\"}}],\"triggers\":[{\"job_finished\":{\"job_id\":$second}}]}"
    send PUT "/v1/jobs/$first" "{\"name\":\"first\",\"tasks\":[{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$JOB}}],\"triggers\":[{\"job_finished\":{\"job_id\":$JOB}}]}" -H 'If-Match: *'
    expect_status 422
    fault /tasks/0/run_job/job_id cycle
    stop_server
}

test_versions_and_conditions()
{
    start_server
    create mine "$TABLE"
    make_job "$TIDY"
    expect_header Location "^/v1/jobs/$JOB$"
    api GET "/v1/jobs/$JOB"
    expect_status 200
    expect .version 1
    expect .name '"tidy"'
    expect .author '"admin"'
    expect .run_as '"admin"'
    expect .next_fire_at null
    expect .definition.max_concurrent_runs 1
    local old
    old=$(etag)
    api GET "/v1/jobs/$JOB" -H "If-None-Match: $old"
    expect_status 304
    send PUT "/v1/jobs/$JOB" "$TIDY"
    expect_status 428
    send PUT "/v1/jobs/$JOB" "${TIDY/tidy/neat}" -H "If-Match: $old"
    expect_status 200
    expect .version 2
    expect .name '"neat"'
    send PUT "/v1/jobs/$JOB" "$TIDY" -H "If-Match: $old"
    expect_status 412
    expect_header ETag "^\"$JOB-2\"$"
    send PATCH "/v1/jobs/$JOB" '{"description":"x"}'
    expect_status 428
    api PATCH "/v1/jobs/$JOB" -H 'Content-Type: application/merge-patch+json' -H "If-Match: \"$JOB-2\"" \
        --data-binary '{"description":"once a day","schedule":{"quartz_cron_expression":"0 30 2 * * ?","timezone_id":"America/New_York"}}'
    expect_status 200
    expect .version 3
    expect .definition.name '"neat"'
    expect .definition.description '"once a day"'
    expect '.next_fire_at != null' true
    send PATCH "/v1/jobs/$JOB" '{"description":"once a day"}' -H "If-Match: \"$JOB-3\""
    expect_status 200
    expect .version 3
    send PATCH "/v1/jobs/$JOB" '{"description":null,"schedule":{"pause_status":"PAUSED"}}' -H "If-Match: \"$JOB-3\""
    expect_status 200
    expect .definition.description null
    expect .definition.schedule.quartz_cron_expression '"0 30 2 * * ?"'
    expect .next_fire_at null
    send PATCH "/v1/jobs/$JOB" '{"tasks":null}' -H 'If-Match: *'
    expect_status 422
    send PUT /v1/jobs/999 "$TIDY" -H 'If-Match: *'
    expect_status 404
    api DELETE "/v1/jobs/$JOB" -H "If-Match: $old"
    expect_status 412
    api DELETE "/v1/jobs/$JOB" -H 'If-Match: *'
    expect_status 204
    api GET "/v1/jobs/$JOB"
    expect_status 404
    for path in /v1/jobs/0 /v1/jobs/x /v1/jobs/-1 /v1/jobs/99999999999999999999; do
        api GET "$path"
        expect_status 404
    done
    stop_server
}

test_next_fire_times()
{
    start_server
    create mine "$TABLE"
    make_job "${TIDY/%\}/,\"schedule\":\{\"quartz_cron_expression\":\"0 30 2 * * ?\",\"timezone_id\":\"America/New_York\"\}\}}"
    api GET "/v1/jobs/$JOB/next?count=400"
    expect_status 400
    api GET "/v1/jobs/$JOB/next"
    expect_status 200
    expect '.fire_times | length' 5
    expect .timezone_id '"America/New_York"'
    jq -e '.fire_times | all(test("T0[67]:30:00.000000Z$")) and . == sort' "$BODY" >/dev/null || fail "not 02:30 in New York"
    api GET "/v1/jobs/$JOB/next?count=100"
    expect '.fire_times | length' 100
    local first
    first=$(jq -r '.fire_times[0]' "$BODY")
    api GET "/v1/jobs/$JOB"
    expect .next_fire_at "\"$first\""
    send PATCH "/v1/jobs/$JOB" '{"schedule":{"pause_status":"PAUSED"}}' -H 'If-Match: *'
    api GET "/v1/jobs/$JOB/next"
    expect .paused true
    expect '.fire_times | length' 0
    # An interval keeps its grid over changes that do not touch it, and over a restart.
    make_job "${TIDY/%\}/,\"schedule\":\{\"every_seconds\":3600\}\}}"
    api GET "/v1/jobs/$JOB"
    first=$(jq -r .next_fire_at "$BODY")
    send PATCH "/v1/jobs/$JOB" '{"description":"x"}' -H 'If-Match: *'
    expect_status 200
    expect .next_fire_at "\"$first\""
    kill_server
    start_server
    api GET "/v1/jobs/$JOB/next?count=1"
    expect '.fire_times[0]' "\"$first\""
    make_job "$TIDY"
    api GET "/v1/jobs/$JOB/next"
    expect '.fire_times | length' 0
    stop_server
}

test_a_key_makes_one_job()
{
    start_server
    create mine "$TABLE"
    send POST /v1/jobs "$TIDY" -H 'Idempotency-Key: "k1"'
    expect_status 201
    local first
    first=$(jq -r .job_id "$BODY")
    cp "$BODY" "$WORK/first"
    send POST /v1/jobs "$TIDY" -H 'Idempotency-Key: k1'
    expect_status 201
    expect_header Idempotency-Replayed true
    cmp "$BODY" "$WORK/first" || fail "another answer"
    send POST /v1/jobs "${TIDY/tidy/other}" -H 'Idempotency-Key: k1'
    expect_status 422
    expect .code '"idempotency_key_reused"'
    api DELETE /v1/tables/mine
    expect_status 204
    kill_server
    start_server
    send POST /v1/jobs "$TIDY" -H 'Idempotency-Key: k1' # what it names is gone, what it made is there
    expect_status 201
    expect .job_id "$first"
    send POST /v1/jobs "$TIDY" -H 'Idempotency-Key: ""'
    expect_status 400
    stop_server
}

test_pages_of_jobs()
{
    start_server
    create mine "$TABLE"
    local i
    for i in 1 2 3 4 5; do
        make_job "${TIDY/\"name\":\"tidy\"/\"name\":\"load-$i\",\"tags\":\{\"team\":\"t$((i % 2))\"\}}"
    done
    make_job "$TIDY"
    api GET '/v1/jobs?name_prefix=load-&limit=2'
    expect '[.jobs[].name]' '["load-1","load-2"]'
    local token
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/jobs?name_prefix=load-&limit=2&page_token=$token"
    expect '[.jobs[].name]' '["load-3","load-4"]'
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/jobs?name_prefix=load-&limit=2&page_token=$token"
    expect '[.jobs[].name]' '["load-5"]'
    expect .next_page_token null
    api GET '/v1/jobs?name=load-3'
    expect '[.jobs[].name]' '["load-3"]'
    api GET '/v1/jobs?tag=team:t0'
    expect '[.jobs[].name]' '["load-2","load-4"]'
    api GET '/v1/jobs?tag=team'
    expect '.jobs | length' 5
    api GET '/v1/jobs?limit=1001'
    expect_status 400
    api GET '/v1/jobs?page_token=nonsense'
    expect_status 400
    api GET '/v1/runs?page_token='"$(printf 'A%.0s' {1..80})"
    expect_status 400
    stop_server
}

test_runs_are_made_once()
{
    start_server
    create mine "$TABLE"
    make_job '{"name":"p","parameters":[{"name":"day","default":"x"},{"name":"n"}],"tasks":[
        {"task_key":"a","type":"optimize","optimize":{"table":"mine"}},
        {"task_key":"b","type":"optimize","optimize":{"table":"mine"},"depends_on":[{"task_key":"a"}]}]}'
    api POST "/v1/jobs/$JOB/runs"
    expect_status 422
    jq -e '.errors[0].pointer | startswith("/parameters")' "$BODY" >/dev/null || fail "no pointer"
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1,"colour":"red"}}'
    expect_status 422
    fault /parameters/colour unknown_parameter
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"only":["zz"]}'
    expect_status 400
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"only":[]}'
    expect_status 400
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"colour":"red"}'
    expect_status 400
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"idempotency_token":""}'
    expect_status 400
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"idempotency_token":"t1","only":["a"]}'
    expect_status 202
    expect .number 1
    expect .trigger '"MANUAL"'
    expect .requested_by '"admin"'
    expect .only '["a"]'
    local run
    run=$(jq -r .run_id "$BODY")
    expect_header Location "^/v1/runs/$run$"
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1},"idempotency_token":"t1","only":["a"]}'
    expect_status 202
    expect_header Idempotency-Replayed true
    expect .run_id "$run"
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":2},"idempotency_token":"t1","only":["a"]}'
    expect_status 422
    expect .code '"idempotency_key_reused"'
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1}}' -H 'Idempotency-Key: k'
    expect .number 2
    send POST "/v1/jobs/$JOB/runs" '{"parameters":{"n":1}}' -H 'Idempotency-Key: k'
    expect .number 2
    kill_server
    start_server
    api GET "/v1/runs/$run"
    expect_status 200
    expect .idempotency_token '"t1"'
    expect '[.tasks[].task_key]' '["a","b"]'
    expect '.tasks[1].depends_on' '[{"task_key":"a"}]'
    expect .next_page_token null
    api GET "/v1/runs/$run?limit=1"
    expect '[.tasks[].task_key]' '["a"]'
    local token
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/runs/$run?limit=1&page_token=$token"
    expect '[.tasks[].task_key]' '["b"]'
    api GET /v1/runs/999
    expect_status 404
    stop_server
}

test_one_off_runs()
{
    start_server
    create mine "$TABLE"
    send POST /v1/runs "$TIDY"
    expect_status 202
    expect .job_id null
    expect .name '"tidy"'
    expect .trigger '"ONE_OFF"'
    send POST /v1/runs '{"tasks":[{"task_key":"a","type":"optimize","optimize":{"table":"mine"}}],"idempotency_token":"o"}'
    expect_status 202
    expect .name '"one-off"'
    local run
    run=$(jq -r .run_id "$BODY")
    send POST /v1/runs '{"tasks":[{"task_key":"a","type":"optimize","optimize":{"table":"mine"}}],"idempotency_token":"o"}'
    expect .run_id "$run"
    send POST /v1/runs "${TIDY/%\}/,\"idempotency_token\":\"o\"\}}"
    expect_status 422
    expect .code '"idempotency_key_reused"'
    send POST /v1/runs "${TIDY/%\}/,\"max_concurrent_runs\":2\}}"
    expect_status 422
    api GET '/v1/runs?job_id=0'
    expect '.runs | length' 2
    stop_server
}

test_lists_of_runs()
{
    start_server --outgoing-allow 127.0.0.1:1
    make_job "$STUCK"
    local i
    for i in 1 2 3; do
        api POST "/v1/jobs/$JOB/runs"
        expect_status 202
    done
    send POST /v1/runs "$STUCK"
    api GET /v1/runs
    expect '.runs | length' 4
    expect '[.runs[].run_id] | . == (sort | reverse)' true
    api GET "/v1/runs?job_id=$JOB&limit=2"
    expect '[.runs[].number]' '[3,2]'
    local token
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/runs?job_id=$JOB&limit=2&page_token=$token"
    expect '[.runs[].number]' '[1]'
    api GET '/v1/runs?active=true&from=2000-01-01T00:00:00Z'
    expect '.runs | length' 4
    api GET '/v1/runs?to=2000-01-01T00:00:00Z'
    expect '.runs | length' 0
    for query in state=FAILED result=RUNNING active=1 from=yesterday job_id=-1 limit=0; do
        api GET "/v1/runs?$query"
        expect_status 400
    done
    stop_server
}

test_cancel_repair_and_delete_are_asked_durably()
{
    start_server --outgoing-allow 127.0.0.1:1
    make_job "$STUCK"
    api POST "/v1/jobs/$JOB/runs"
    local run
    run=$(jq -r .run_id "$BODY")
    api POST "/v1/runs/$run/repair"
    expect_status 409
    api DELETE "/v1/jobs/$JOB"
    expect_status 409
    api POST "/v1/runs/$run/cancel"
    expect_status 202
    kill_server
    start_server
    api GET "/v1/runs/$run"
    expect '.cancel_requested_at != null' true
    expect .cancel_requested_by '"admin"'
    api POST /v1/runs/999/cancel
    expect_status 404
    api DELETE "/v1/jobs/$JOB?force=true"
    expect_status 204
    api GET "/v1/runs/$run"
    expect_status 200
    expect .name '"tidy"'
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
    grep -q '^ok  *runs  *1 runs' "$WORK/fsck" || fail "fsck saw no run: $(cat "$WORK/fsck")"
}

test_backfills()
{
    start_server
    create mine "$TABLE"
    make_job '{"name":"b","parameters":[{"name":"day","default":"2026-01-01"},{"name":"n","default":0}],
        "tasks":[{"task_key":"a","type":"optimize","optimize":{"table":"mine"}}],"max_concurrent_runs":2}'
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"day","from":"2026-02-27","to":"2026-03-02"}'
    expect_status 202
    expect '[.runs[].value]' '["2026-02-27","2026-02-28","2026-03-01","2026-03-02"]'
    expect .made 4
    local first
    first=$(jq -r '.runs[0].run_id' "$BODY")
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"day","from":"2026-02-26","to":"2026-02-27"}'
    expect .made 1
    expect '.runs[1].run_id' "$first"
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"day","from":"2026-02-27","to":"2026-02-27","idempotency_token":"again"}'
    expect .made 1
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"day","from":"2025-11-30","to":"2026-03-31","unit":"month","parameters":{"n":7}}'
    expect '[.runs[].value]' '["2025-11-30","2025-12-30","2026-01-30","2026-02-28","2026-03-30"]'
    api GET "/v1/runs/$(jq -r '.runs[3].run_id' "$BODY")"
    expect .parameters '{"n":7,"day":"2026-02-28"}'
    expect .trigger '"BACKFILL"'
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"n","from":1,"to":10,"step":4}'
    expect '[.runs[].value]' '[1,5,9]'
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"n","from":1,"to":1001}'
    expect_status 413
    jq -e '.detail | test("1000")' "$BODY" >/dev/null || fail "the limit is not named"
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"n","from":1,"to":1000}'
    expect_status 202
    expect .made 997
    local body
    for body in '{}' '{"parameter":"zz","from":1,"to":2}' '{"parameter":"n","from":2,"to":1}' '{"parameter":"n","from":1,"to":"2026-01-01"}' \
        '{"parameter":"day","from":"2026-13-01","to":"2026-13-02"}' '{"parameter":"n","from":1,"to":2,"step":0}' \
        '{"parameter":"n","from":1,"to":2,"unit":"day"}' '{"parameter":"n","from":1,"to":2,"parameters":{"n":1}}' \
        '{"parameter":"day","from":"2026-01-01","to":"2026-01-02","unit":"year"}' '{"parameter":"n","from":1,"to":2,"parameters":[]}'; do
        send POST "/v1/jobs/$JOB/backfill" "$body"
        expect_status 400
    done
    send POST "/v1/jobs/$JOB/backfill" '{"parameter":"n","from":1,"to":2,"parameters":{"colour":"red"}}'
    expect_status 422
    stop_server
}

test_who_may_do_what()
{
    start_server --outgoing-allow 127.0.0.1:1
    create mine "$TABLE"
    create other "$TABLE"
    user acme '[{"role":"partner","table":"mine"}]'
    local partner=$USER_TOKEN
    user ann '[{"role":"analyst"}]'
    local analyst=$USER_TOKEN
    user olga '[{"role":"operator"}]'
    local operator=$USER_TOKEN
    user audrey '[{"role":"auditor"}]'
    local auditor=$USER_TOKEN
    make_job "$STUCK"
    local token
    for token in "$partner" "$analyst"; do
        for path in /v1/jobs "/v1/jobs/$JOB" "/v1/jobs/$JOB/next" /v1/runs /v1/runs/1 /v1/webhooks; do
            as "$token" api GET "$path"
            expect_status 403
        done
        as "$token" send POST /v1/jobs "$TIDY"
        expect_status 403
        as "$token" api POST "/v1/jobs/$JOB/runs"
        expect_status 403
        as "$token" send POST /v1/runs "$TIDY"
        expect_status 403
        as "$token" api DELETE "/v1/jobs/$JOB"
        expect_status 403
    done
    as "$operator" api POST "/v1/jobs/$JOB/runs"
    expect_status 202
    expect .run_as '"admin"'
    expect .requested_by '"olga"'
    local run
    run=$(jq -r .run_id "$BODY")
    as "$operator" send PATCH "/v1/jobs/$JOB" '{"description":"x"}' -H 'If-Match: *'
    expect_status 403
    as "$operator" send POST /v1/runs "$TIDY"
    expect_status 403
    as "$operator" api POST "/v1/runs/$run/cancel"
    expect_status 202
    as "$auditor" api GET "/v1/jobs/$JOB"
    expect_status 200
    as "$auditor" api GET "/v1/runs/$run"
    expect_status 200
    as "$auditor" api POST "/v1/runs/$run/cancel"
    expect_status 403
    as "$auditor" api GET /v1/webhooks
    expect_status 200
    stop_server
}

test_a_job_may_never_do_what_its_author_may_not()
{
    start_server
    create mine "$TABLE"
    create other "$TABLE"
    send PUT /v1/secrets/hook '{"value":"x"}'
    user eve '[{"role":"engineer","table":"mine"}]'
    local eve=$USER_TOKEN
    user bot '[{"role":"engineer"}]'
    local bot=$USER_TOKEN
    local other=${TIDY/\"table\":\"mine\"/\"table\":\"other\"}
    as "$eve" send POST /v1/jobs "$other"
    expect_status 422
    fault /tasks/0/optimize/table forbidden
    as "$eve" send POST /v1/jobs "${other/%\}/,\"run_as\":\{\"principal\":\"bot\"\}\}}" # run_as may, eve may not
    expect_status 422
    fault /tasks/0/optimize/table forbidden
    as "$eve" send POST /v1/runs "${other/%\}/,\"run_as\":\{\"principal\":\"bot\"\}\}}"
    expect_status 422
    send POST /v1/jobs "${other/%\}/,\"run_as\":\{\"principal\":\"eve\"\}\}}" # admin may, run_as may not
    expect_status 422
    as "$eve" send POST /v1/jobs "${TIDY/\"mine\"/\"{{job.parameters.t\}\}\"}"
    expect_status 422
    as "$eve" send POST /v1/jobs '{"name":"h","tasks":[{"task_key":"a","type":"http_request","http_request":{"url":"https://example.org/","auth":{"type":"bearer","token":"{{secrets.hook}}"}}}]}'
    expect_status 422
    as "$eve" send POST /v1/jobs "$TIDY"
    expect_status 201
    local own
    own=$(jq -r .job_id "$BODY")
    # Somebody else's jobs do not exist for it; not read, not run, not taken over.
    make_job "$other"
    for call in "GET /v1/jobs/$JOB" "GET /v1/jobs/$JOB/next" "POST /v1/jobs/$JOB/runs" "DELETE /v1/jobs/$JOB"; do
        # shellcheck disable=SC2086 # method and path are two words
        as "$eve" api $call
        expect_status 404
    done
    as "$eve" send PUT "/v1/jobs/$JOB" "$TIDY" -H 'If-Match: *'
    expect_status 404
    as "$eve" send POST "/v1/jobs/$JOB/backfill" '{"parameter":"n","from":1,"to":2}'
    expect_status 404
    as "$eve" api GET /v1/jobs
    expect '[.jobs[].job_id]' "[$own]"
    api POST "/v1/jobs/$JOB/runs"
    local run
    run=$(jq -r .run_id "$BODY")
    for call in "GET /v1/runs/$run" "POST /v1/runs/$run/cancel" "POST /v1/runs/$run/repair"; do
        # shellcheck disable=SC2086 # method and path are two words
        as "$eve" api $call
        expect_status 404
    done
    as "$eve" api GET /v1/runs
    expect '.runs | length' 0
    as "$eve" api POST "/v1/jobs/$own/runs"
    expect_status 202
    as "$eve" api GET /v1/runs
    expect '.runs | length' 1
    # What another writes into eve's job is that other's, and is judged as such.
    as "$bot" send PATCH "/v1/jobs/$own" '{"description":"x"}' -H 'If-Match: *'
    expect_status 200
    expect .run_as '"bot"'
    as "$eve" api GET "/v1/jobs/$own"
    expect_status 404
    as "$eve" api GET /v1/webhooks
    expect_status 403
    stop_server
}

test_a_lost_grant_shows_at_the_next_change()
{
    start_server
    create mine "$TABLE"
    user eve '[{"role":"engineer","table":"mine"}]'
    local eve=$USER_TOKEN
    as "$eve" send POST /v1/jobs "$TIDY"
    expect_status 201
    JOB=$(jq -r .job_id "$BODY")
    send PUT /v1/principals/eve/roles '{"roles":[{"role":"partner","table":"mine"},{"role":"engineer","table":"nothing"}]}'
    expect_status 200
    as "$eve" send PATCH "/v1/jobs/$JOB" '{"description":"x"}' -H 'If-Match: *'
    expect_status 422
    fault /tasks/0/optimize/table forbidden
    stop_server
}

test_changes_are_audited()
{
    start_server --outgoing-allow 127.0.0.1:1
    make_job "$STUCK"
    send PATCH "/v1/jobs/$JOB" '{"description":"x"}' -H 'If-Match: *'
    api POST "/v1/jobs/$JOB/runs"
    api POST "/v1/runs/$(jq -r .run_id "$BODY")/cancel"
    api DELETE "/v1/jobs/$JOB?force=true"
    expect_status 204
    stop_server
    local event
    for event in job.create job.change run.start run.cancel job.delete; do
        grep -aq "\"$event\"" "$DATA"/audit/* || fail "$event is not in the trail"
    done
}

test_a_crowd_with_one_token_gets_one_run()
{
    start_server
    create mine "$TABLE"
    make_job "$TIDY"
    local i
    for i in 1 2 3 4 5 6 7 8; do
        curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
            --data-binary '{"idempotency_token":"crowd"}' -o "$WORK/crowd.$i" "$URL/v1/jobs/$JOB/runs" &
        pids[i]=$!
    done
    for i in 1 2 3 4 5 6 7 8; do
        wait "${pids[$i]}"
    done
    [ "$(jq -r .run_id "$WORK"/crowd.* | sort -u | wc -l)" = 1 ] || fail "several runs: $(jq -r .run_id "$WORK"/crowd.*)"
    api GET "/v1/jobs/$JOB"
    expect .runs 1
    stop_server
}

test_waiting_for_the_end_of_a_run()
{
    start_server --outgoing-allow 127.0.0.1:1
    create mine "$TABLE"
    make_job '{"name":"w","parameters":[{"name":"x","default":"1"}],"tasks":[
        {"task_key":"ask","type":"condition","condition":{"op":"EQUAL_TO","left":"{{job.parameters.x}}","right":"1"}},
        {"task_key":"tidy","type":"optimize","optimize":{"table":"mine"},"depends_on":[{"task_key":"ask","outcome":"true"}]}]}'
    send POST "/v1/jobs/$JOB/runs" '{}' -H 'Prefer: wait=30'
    expect_status 200
    expect_header Preference-Applied 'wait=30'
    expect .state '"TERMINATED"'
    expect .result '"SUCCESS"'
    api GET "/v1/runs/$(jq -r .run_id "$BODY")"
    expect '[.tasks[] | [.task_key, .result, .outcome]]' '[["ask","SUCCESS","true"],["tidy","SUCCESS",null]]'
    send POST /v1/runs "$TIDY" -H 'Prefer: wait=30'
    expect_status 200
    expect .result '"SUCCESS"'
    make_job "$STUCK"
    send POST "/v1/jobs/$JOB/runs" '{}' -H 'Prefer: wait=1'
    expect_status 202
    expect '.state != "TERMINATED"' true
    local run
    run=$(jq -r .run_id "$BODY")
    api POST "/v1/runs/$run/cancel" -H 'Prefer: wait=30'
    expect_status 200
    expect .result '"CANCELED"'
    api POST "/v1/runs/$run/cancel"
    expect_status 409
    api POST "/v1/runs/$run/repair" -H 'Prefer: wait=1'
    expect_status 202
    expect .repairs 1
    expect .result null
    expect .cancel_requested_at null
    send POST "/v1/jobs/$JOB/runs" '{}' -H 'Prefer: wait=x'
    expect_status 400
    api DELETE "/v1/jobs/$JOB?force=true" # the runner is told: the repaired run ends
    expect_status 204
    ended() { api GET "/v1/runs/$run" && [ "$(jq -r .result "$BODY")" = CANCELED ]; }
    wait_for ended || fail "a run outlived its job"
    stop_server
}
