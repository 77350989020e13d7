# Verbs of the end-to-end tests. A test is a function `test_…` in a file of this
# folder; each runs in a subshell with a data directory of its own.
#
#   start_server [flags…]      serve $DATA on a free port; sets URL and TOKEN
#   stop_server                SIGTERM; fails the test if the exit code is not 0
#   kill_server                kill -9
#   api METHOD PATH [curl…]    sets STATUS, BODY (file), HEADERS (file)
#   expect_status N            of the last api call
#   expect JQ VALUE            jq filter over the last body prints VALUE
#   expect_header NAME REGEX   of the last api call
#   logged FIELD               of the log line of the last api call
#   post TABLE FILE [curl…]    post a batch and wait until it is indexed
#   fail MESSAGE               ends the test
#   is_sanitized               the program holds ASan: its memory tells nothing
#   skip REASON                ends the test, counted as neither passed nor failed
# shellcheck shell=bash

SLUICE=${SLUICE:?path of the program under test}

fail()
{
    echo "    $*" >&2
    if [ -n "${STATUS:-}" ] && [ -s "${BODY:-/dev/null}" ]; then
        echo "    last answer: $STATUS $(head -c 600 "$BODY")" >&2
    fi
    if [ -s "${LOG:-/dev/null}" ]; then
        echo "    last log lines:" >&2
        tail -n 5 "$LOG" | cut -c 1-400 | sed 's/^/      /' >&2
    fi
    exit 1
}

is_sanitized()
{
    grep -qa __asan_init "$SLUICE"
}

skip()
{
    echo "    SKIPPED: $*" >&2
    exit 77
}

# Wait for a condition without sleeping blindly: up to ten seconds.
wait_for()
{
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || return 1
        read -r -t 0.01 <>"$WORK/never" || true
    done
}

server_is_up()
{
    [ -s "$DATA/endpoint" ] || ! kill -0 "$SERVER_PID" 2>/dev/null
}

start_server()
{
    rm -f "$DATA/endpoint"
    "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 "$@" 2>>"$LOG" &
    SERVER_PID=$!
    wait_for server_is_up || fail "server did not come up"
    kill -0 "$SERVER_PID" 2>/dev/null || fail "server ended at start"
    URL=$(cat "$DATA/endpoint")
    TOKEN=$(cat "$DATA/admin.token")
}

stop_server()
{
    kill -TERM "$SERVER_PID"
    local code=0
    wait "$SERVER_PID" || code=$?
    SERVER_PID=""
    [ "$code" -eq 0 ] || fail "server exited with $code after SIGTERM"
}

kill_server()
{
    kill -KILL "$SERVER_PID"
    wait "$SERVER_PID" 2>/dev/null || true
    SERVER_PID=""
}

api()
{
    local method=$1 path=$2
    shift 2
    STATUS=$(curl -sS -o "$BODY" -D "$HEADERS" -w '%{http_code}' -X "$method" \
        -H "Authorization: Bearer $TOKEN" "$@" "$URL$path") || fail "curl $method $path: exit $?"
}

# logged FIELD: of the log line of the request answered last; lines of requests are
# gathered, so this one may come a little later than the answer.
logged()
{
    local id
    id=$(grep -i '^X-Request-Id:' "$HEADERS" | tr -d '\r' | sed 's/^[^:]*: *//')
    wait_for grep -q "\"msg\":\"request\",\"request_id\":\"$id\"" "$LOG" || fail "no log line of request '$id'"
    grep "\"msg\":\"request\",\"request_id\":\"$id\"" "$LOG" | jq -r ".$1"
}

expect_status()
{
    [ "$STATUS" = "$1" ] || fail "expected status $1, got $STATUS"
}

expect()
{
    local got
    got=$(jq -c "$1" "$BODY") || fail "body is not JSON for $1"
    [ "$got" = "$2" ] || fail "expected $1 to be $2, got $got"
}

expect_header()
{
    grep -i "^$1:" "$HEADERS" | tr -d '\r' | sed 's/^[^:]*: *//' | grep -Eq -- "$2" ||
        fail "expected header $1 to match $2, got: $(grep -i "^$1:" "$HEADERS" | tr -d '\r')"
}

# create TABLE DEFINITION
create()
{
    api PUT "/v1/tables/$1" -H 'Content-Type: application/json' --data-binary "$2"
    expect_status 201
}

# post TABLE FILE [curl arguments]: NDJSON unless told otherwise
post()
{
    local table=$1 file=$2
    shift 2
    local type=application/x-ndjson
    case $file in *.csv*) type=text/csv ;; *.json) type=application/json ;; esac
    api POST "/v1/tables/$table/batches" -H "Content-Type: $type" -H 'Prefer: wait=30' \
        --data-binary "@$file" "$@"
}

# send_lines TABLE LINES: a batch of its own, indexed when this returns
send_lines()
{
    printf '%s\n' "$2" >"$WORK/lines.ndjson"
    post "$1" "$WORK/lines.ndjson" -H "Idempotency-Key: \"$RANDOM$RANDOM\""
    expect_status 200
}

# rows_by_id TABLE [QUERY]: the first page of rows, in the order of `id`
rows_by_id()
{
    api GET "/v1/tables/$1/rows${2:-}"
    jq -c '.rows|sort_by(.id)' "$BODY"
}

