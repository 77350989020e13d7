# Attacks on jobs: what somebody limited to some tables must not reach, and definitions
# that must not bring the server down.
# shellcheck shell=bash

# shellcheck source=tests/e2e/test_jobs.sh
. "$here/test_jobs.sh" # its verbs

test_a_job_of_another_is_not_reached_through_a_job_of_ones_own()
{
    start_server --outgoing-allow 127.0.0.1:1
    create mine "$TABLE"
    user eve '[{"role":"engineer","table":"mine"}]'
    local eve=$USER_TOKEN
    make_job "$STUCK"
    local other=$JOB call
    call="{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$other}}"
    as "$eve" send POST /v1/jobs "{\"name\":\"e\",\"tasks\":[$call]}"
    expect_status 422
    fault /tasks/0/run_job/job_id unknown_job
    as "$eve" send POST /v1/runs "{\"name\":\"e\",\"tasks\":[$call]}"
    expect_status 422
    as "$eve" send POST /v1/jobs "{\"name\":\"e\",\"tasks\":[{\"task_key\":\"each\",\"type\":\"for_each\",\"for_each\":{\"inputs\":[1],\"task\":$call}}]}"
    expect_status 422
    as "$eve" send POST /v1/jobs "${TIDY/%\}/,\"triggers\":[\{\"job_finished\":\{\"job_id\":$other\}\}]\}}"
    expect_status 422
    fault /triggers/0/job_finished/job_id unknown_job
    # Her own jobs may run each other, until one of them becomes somebody else's.
    as "$eve" send POST /v1/jobs "$TIDY"
    expect_status 201
    local own
    own=$(jq -r .job_id "$BODY")
    as "$eve" send POST /v1/jobs "{\"name\":\"e\",\"tasks\":[{\"task_key\":\"call\",\"type\":\"run_job\",\"run_job\":{\"job_id\":$own}}]}"
    expect_status 201
    local outer
    outer=$(jq -r .job_id "$BODY")
    as "$eve" api POST "/v1/jobs/$outer/runs" -H 'Prefer: wait=30'
    expect .result '"SUCCESS"'
    send PATCH "/v1/jobs/$own" '{"description":"taken over"}' -H 'If-Match: *'
    expect_status 200
    as "$eve" api POST "/v1/jobs/$outer/runs" -H 'Prefer: wait=30'
    expect .result '"FAILED"'
    expect .error.code '"forbidden"'
    api GET "/v1/jobs/$own"
    expect .runs 1
    stop_server
}

test_a_token_of_another_gives_nobody_his_one_off_run()
{
    start_server
    create mine "$TABLE"
    user eve '[{"role":"engineer","table":"mine"}]'
    local eve=$USER_TOKEN
    send POST /v1/runs "${TIDY/%\}/,\"idempotency_token\":\"nightly\"\}}"
    expect_status 202
    as "$eve" send POST /v1/runs "${TIDY/%\}/,\"idempotency_token\":\"nightly\"\}}"
    expect_status 422
    expect .code '"idempotency_key_reused"'
    expect .run_as null
    stop_server
}

test_a_run_is_cancelled_from_the_command_line()
{
    start_server --outgoing-allow 127.0.0.1:1
    make_job "$STUCK"
    api POST "/v1/jobs/$JOB/runs"
    local run
    run=$(jq -r .run_id "$BODY")
    "$SLUICE" run cancel "$run" --data "$DATA" >"$WORK/out" 2>&1 || fail "cancel: $(cat "$WORK/out")"
    grep -q "run $run is being cancelled" "$WORK/out" || fail "says: $(cat "$WORK/out")"
    api GET "/v1/runs/$run"
    expect '.cancel_requested_at != null' true
    stop_server
}

test_jobs_do_not_start_each_other_without_end()
{
    start_server
    create mine "$TABLE"
    make_job "$TIDY"
    local first=$JOB
    make_job "${TIDY/%\}/,\"triggers\":[\{\"job_finished\":\{\"job_id\":$first\}\}]\}}"
    local job
    for job in "$first" "$JOB"; do
        send PATCH "/v1/jobs/$first" "{\"triggers\":[{\"job_finished\":{\"job_id\":$job}}]}" -H 'If-Match: *'
        expect_status 422
        fault /triggers/0/job_finished/job_id cycle
    done
    stop_server
}

test_a_secret_is_lent_only_as_long_as_the_author_may_use_it()
{
    start_server --outgoing-allow 127.0.0.1:1
    create mine "$TABLE"
    send PUT /v1/secrets/hook '{"value":"x"}'
    user bot '[{"role":"engineer"}]'
    local bot=$USER_TOKEN
    as "$bot" send POST /v1/jobs '{"name":"h","tasks":[{"task_key":"a","type":"http_request","http_request":
        {"url":"http://127.0.0.1:1/","auth":{"type":"bearer","token":"{{secrets.hook}}"}}}]}'
    expect_status 201
    JOB=$(jq -r .job_id "$BODY")
    api POST "/v1/jobs/$JOB/runs" -H 'Prefer: wait=30'
    expect .error.code '"io"' # nobody listens there, but the secret was opened
    send PUT /v1/principals/bot/roles '{"roles":[{"role":"engineer","table":"mine"}]}'
    expect_status 200
    api POST "/v1/jobs/$JOB/runs" -H 'Prefer: wait=30'
    expect .error.code '"forbidden"'
    stop_server
}

test_a_timeout_says_whose_it_is()
{
    # shellcheck source=tests/e2e/test_runs.sh
    . "$here/test_runs.sh" # start_receiver
    start_receiver
    kill -STOP "$RECEIVER_PID" # it takes calls and never answers
    trap 'kill -CONT $RECEIVER_PID; kill $RECEIVER_PID' EXIT
    start_server --outgoing-allow "${CALL#http://}"
    local call="{\"task_key\":\"call\",\"type\":\"http_request\",\"http_request\":{\"url\":\"$CALL/\"}}"
    local each="\"task_key\":\"each\",\"type\":\"for_each\",\"for_each\":{\"inputs\":[1],\"task\":$call}"
    make_job "{\"name\":\"run\",\"tasks\":[$call],\"timeout_seconds\":1}"
    start
    ended TIMEDOUT
    expect .error.message "\"task 'call': the run took longer than 1 seconds\""
    make_job "{\"name\":\"task\",\"tasks\":[${call/%\}/,\"timeout_seconds\":1\}}]}"
    start
    ended FAILED
    expect .error.message "\"task 'call': took longer than 1 seconds\""
    make_job "{\"name\":\"each\",\"tasks\":[{$each,\"timeout_seconds\":1}]}"
    start
    wait_for run_is .state TERMINATED || fail "the run does not end"
    expect '[.tasks[] | select(.iteration == 0)][0].error.message' '"the for_each took longer than 1 seconds"'
    stop_server
}
