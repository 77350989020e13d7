# Runs of jobs, from the request to the end: order and branches, retries, repairs, cancels,
# pools, webhooks, and a kill in the middle.
# shellcheck shell=bash

TABLE='{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'

# send METHOD PATH JSON [curl…]
send()
{
    local method=$1 path=$2 body=$3
    shift 3
    api "$method" "$path" -H 'Content-Type: application/json' --data-binary "$body" "$@"
}

# A receiver that answers as $RECEIVER/answer says; its address in $CALL.
start_receiver()
{
    RECEIVER=$WORK/receiver
    mkdir -p "$RECEIVER"
    "$TOOLS/receiver" "$RECEIVER" &
    RECEIVER_PID=$!
    trap 'kill -KILL $RECEIVER_PID $SERVER_PID 2>/dev/null || true' EXIT
    wait_for test -s "$RECEIVER/url" || fail "the receiver did not come up"
    CALL=$(cat "$RECEIVER/url")
}

# make_job JSON: its id in $JOB
make_job()
{
    send POST /v1/jobs "$1"
    expect_status 201
    JOB=$(jq -r .job_id "$BODY")
}

# start [JSON]: its id in $RUN
start()
{
    send POST "/v1/jobs/$JOB/runs" "${1:-{\}}"
    expect_status 202
    RUN=$(jq -r .run_id "$BODY")
}

run_is()
{
    api GET "/v1/runs/$RUN"
    [ "$(jq -r "$1" "$BODY")" = "$2" ]
}

# ended RESULT: wait for the run's end
ended()
{
    wait_for run_is .state TERMINATED || fail "the run does not end"
    expect .result "\"$1\""
}

# results KEY=RESULT…: of the tasks themselves
results()
{
    local pair
    for pair in "$@"; do
        expect "[.tasks[] | select(.task_key == \"${pair%%=*}\" and .iteration == null)][0].result" "\"${pair#*=}\""
    done
}

heads()
{
    find "$RECEIVER" -name '*.head' | sort
}

test_tasks_run_in_order_and_branch()
{
    start_receiver
    start_server --outgoing-allow "${CALL#http://}"
    create mine "$TABLE"
    make_job "{\"name\":\"flow\",\"parameters\":[{\"name\":\"n\",\"default\":3}],\"tasks\":[
        {\"task_key\":\"tidy\",\"type\":\"optimize\",\"optimize\":{\"table\":\"mine\"}},
        {\"task_key\":\"big\",\"type\":\"condition\",\"condition\":{\"op\":\"GREATER_THAN\",\"left\":\"{{job.parameters.n}}\",\"right\":2},
         \"depends_on\":[{\"task_key\":\"tidy\"}]},
        {\"task_key\":\"tell\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/big\",\"body\":{\"run\":\"{{run.id}}\"}},
         \"depends_on\":[{\"task_key\":\"big\",\"outcome\":\"true\"}]},
        {\"task_key\":\"clean\",\"type\":\"vacuum\",\"vacuum\":{\"table\":\"mine\",\"dry_run\":true},
         \"depends_on\":[{\"task_key\":\"big\",\"outcome\":\"false\"}]}],
        \"webhook_notifications\":{\"on_success\":[{\"url\":\"$CALL/hook\"}]}}"
    start
    ended SUCCESS
    results tidy=SUCCESS big=SUCCESS tell=SUCCESS clean=EXCLUDED
    expect '[.tasks[] | select(.task_key == "big")][0].outcome' '"true"'
    wait_for test -s "$RECEIVER/0002.head" || fail "no webhook came"
    grep -q '^POST /big ' "$RECEIVER/0001.head" || fail "the call did not come first"
    jq -e ".run == $RUN" "$RECEIVER/0001.body" >/dev/null || fail "the template was not filled in"
    grep -q '^POST /hook ' "$RECEIVER/0002.head" || fail "no webhook"
    jq -e ".type == \"run.succeeded\" and .data.run_id == $RUN" "$RECEIVER/0002.body" >/dev/null ||
        fail "another webhook: $(cat "$RECEIVER/0002.body")"
    start '{"parameters":{"n":1}}'
    ended SUCCESS
    results tell=EXCLUDED clean=SUCCESS
    api GET /metrics
    grep -q '^sluice_runs_total{result="SUCCESS"} 2' "$BODY" || fail "runs are not counted"
    stop_server
}

test_a_failed_run_is_repaired()
{
    start_receiver
    echo 500 >"$RECEIVER/answer"
    start_server --outgoing-allow "${CALL#http://}"
    make_job "{\"name\":\"call\",\"tasks\":[
        {\"task_key\":\"a\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/a\"}},
        {\"task_key\":\"b\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/b\"},\"depends_on\":[{\"task_key\":\"a\"}]}]}"
    start
    ended FAILED
    results a=FAILED b=UPSTREAM_FAILED
    expect '.error.message | startswith("task '"'a'"': ")' true
    echo 204 >"$RECEIVER/answer"
    api POST "/v1/runs/$RUN/repair"
    expect_status 202
    ended SUCCESS
    results a=SUCCESS b=SUCCESS
    expect .repairs 1
    expect '[.tasks[] | select(.task_key == "a")][0].attempts | length' 2
    stop_server
}

test_a_waiting_run_is_cancelled()
{
    start_server --outgoing-allow 127.0.0.1:1
    make_job '{"name":"stuck","tasks":[{"task_key":"call","type":"http_request","http_request":{"url":"http://127.0.0.1:1/"},
        "max_retries":-1,"min_retry_interval_millis":86400000}]}'
    start
    local first=$RUN
    start
    wait_for run_is .state BLOCKED || fail "the second run does not wait"
    api POST "/v1/runs/$RUN/cancel"
    expect_status 202
    ended CANCELED
    RUN=$first
    wait_for run_is '.tasks[0].state' WAITING_FOR_RETRY || fail "the first run does not wait for its retry"
    api POST "/v1/runs/$RUN/cancel"
    ended CANCELED
    results call=CANCELED
    stop_server
}

test_pools_are_named_by_the_setting()
{
    local job='{"name":"p","tasks":[{"task_key":"a","type":"optimize","optimize":{"table":"mine"},"pool":"slow"}]}'
    start_server
    create mine "$TABLE"
    send POST /v1/jobs "$job"
    expect_status 422
    expect '.errors[0].pointer' '"/tasks/0/pool"'
    stop_server
    ! "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 --task-pools 'slow=0' 2>"$LOG" || fail "took slow=0"
    grep -q "task-pools: 'slow=0' must be NAME=PLACES" "$LOG" || fail "does not say what is wrong"
    start_server --task-pools 'slow=2'
    make_job "$job"
    start
    ended SUCCESS
    api GET /metrics
    grep -q '^sluice_tasks_running{pool="slow"} 0' "$BODY" || fail "the pool is not shown"
    stop_server
    start_server # the setting lost the pool: its tasks do not slip in among the others
    start
    ended FAILED
    expect '.tasks[0].error.message' '"there is no pool '"'slow'"' any more; name it in the setting task-pools again, or give the task another pool, and repair the run"'
    stop_server
    start_server --task-pools 'slow=1'
    send POST "/v1/runs/$RUN/repair" '{}'
    expect_status 202
    ended SUCCESS
    stop_server
}

# Killed at any moment, a run ends as one that nobody killed, and every call has one key.
test_a_kill_in_the_middle_changes_nothing()
{
    start_receiver
    start_server --outgoing-allow "${CALL#http://}"
    make_job "{\"name\":\"loop\",\"tasks\":[
        {\"task_key\":\"each\",\"type\":\"for_each\",\"for_each\":{\"inputs\":[1,2,3,4,5,6,7,8,9,10],\"concurrency\":2,
         \"task\":{\"task_key\":\"one\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/{{input}}\"},\"max_retries\":20}}},
        {\"task_key\":\"last\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/last\"},\"depends_on\":[{\"task_key\":\"each\"}]}]}"
    start
    local kills
    for kills in 1 2 3 4; do
        wait_for test -s "$RECEIVER/000$kills.head" || break
        kill_server
        start_server --outgoing-allow "${CALL#http://}"
    done
    ended SUCCESS
    results each=SUCCESS last=SUCCESS
    local keys
    keys=$(heads | xargs grep -ih '^idempotency-key:' | sort -u | wc -l)
    [ "$keys" = 11 ] || fail "$keys keys for 11 calls"
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}
