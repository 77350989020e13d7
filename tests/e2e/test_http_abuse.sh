# Requests that no honest client sends, and clients that are slow on purpose: every
# row must be answered as demanded, and nothing may be smuggled behind it.
# shellcheck shell=bash

# raw FORMAT [seconds]: send printf's output on a connection of its own, read until
# the server closes it. Sets STATUS (of the first answer), ANSWERS (how many),
# CLOSED (yes/no: within the time, default 3 s) and the file BODY.
raw()
{
    local host port code=0
    host=${URL#http://}
    port=${host##*:}
    host=${host%:*}
    exec 7<>"/dev/tcp/$host/$port"
    # shellcheck disable=SC2059
    printf "$1" >&7 2>/dev/null || true
    timeout "${2:-3}" cat <&7 >"$BODY" 2>/dev/null || code=$?
    exec 7<&- 7>&-
    CLOSED=yes
    [ "$code" -ne 124 ] || CLOSED=no
    ANSWERS=$(grep -ac '^HTTP/1\.1 ' "$BODY" || true)
    STATUS=$(grep -a -m1 '^HTTP/1\.1 ' "$BODY" | cut -d' ' -f2 || true)
}

# refused STATUS NAME FORMAT: one answer with that status, then the connection is closed.
refused()
{
    raw "$3"
    case " $1 " in *" $STATUS "*) ;; *) fail "$2: expected $1, got '$STATUS'" ;; esac
    [ "$ANSWERS" = 1 ] || fail "$2: $ANSWERS answers, the second request was smuggled"
    [ "$CLOSED" = yes ] || fail "$2: the connection stayed open"
    grep -aq 'application/problem+json' "$BODY" || fail "$2: the answer is no problem"
}

H='Host: x\r\n'
NEXT='GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'

auth()
{
    A="Authorization: Bearer $TOKEN\r\nContent-Type: application/x-ndjson\r\n"
    POST="POST /v1/tables/t/batches HTTP/1.1\r\n$H$A"
}

test_framing_is_read_in_one_way()
{
    start_server
    auth
    refused 400 "length and coding" "${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$NEXT"
    refused 400 "coding and length" "${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n$NEXT"
    refused 400 "two lengths" "${POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef$NEXT"
    refused 400 "two equal lengths" "${POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde$NEXT"
    refused 400 "space before the colon" "${POST}Content-Length : 5\r\n\r\n$NEXT"
    refused "501 400" "unknown coding" "${POST}Transfer-Encoding: gzip\r\n\r\n$NEXT"
    refused "501 400" "identity, chunked" "${POST}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n$NEXT"
    refused 400 "length +5" "${POST}Content-Length: +5\r\n\r\nabcde$NEXT"
    refused 400 "length -1" "${POST}Content-Length: -1\r\n\r\n$NEXT"
    refused 400 "length 5, 5" "${POST}Content-Length: 5, 5\r\n\r\nabcde$NEXT"
    refused "413 400" "length 2^64" "${POST}Content-Length: 18446744073709551616\r\n\r\n$NEXT"
    refused "400 413" "chunk size of 17 digits" "${POST}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc$NEXT"
    refused 400 "chunk longer than it says" "${POST}Transfer-Encoding: chunked\r\n\r\n2\r\nabcde\r\n0\r\n\r\n$NEXT"
    refused 400 "chunk ended by a bare LF" "${POST}Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n$NEXT"
    stop_server
}

test_heads_are_read_strictly()
{
    start_server
    refused 400 "bare LF" 'GET /livez HTTP/1.1\nHost: x\n\n'
    refused 400 "one bare LF" "GET /livez HTTP/1.1\r\n${H}A: b\n\r\n"
    refused 400 "no host" 'GET /livez HTTP/1.1\r\n\r\n'
    refused 400 "two hosts" "GET /livez HTTP/1.1\r\n$H$H\r\n"
    refused 400 "folded header" "GET /livez HTTP/1.1\r\n${H}A: b\r\n c\r\n\r\n"
    refused 400 "NUL in a value" "GET /livez HTTP/1.1\r\n${H}A: b\\x00c\r\n\r\n"
    refused 400 "NUL in the target" "GET /liv\\x00ez HTTP/1.1\r\n$H\r\n"
    refused "505 400" "HTTP/9.9" "GET /livez HTTP/9.9\r\n$H\r\n"
    refused 400 "HTTP/0.9" 'GET /livez\r\n'
    refused 400 "a good request, then a bad one behind it in the same packet" 'X\r\n\r\n'
    raw "${NEXT}GET /livez HTTP/1.1\r\nHost : x\r\n\r\n"
    [ "$ANSWERS" = 2 ] || fail "a good request before a bad one must be answered"
    stop_server
}

test_targets_are_decoded_strictly()
{
    start_server
    api GET '/a%00b'
    expect_status 400
    api GET '/a%zzb'
    expect_status 400
    api GET '/a%ff'
    expect_status 400
    api GET '/%2e%2e/%2e%2e/etc/passwd' --path-as-is
    expect_status 404
    api GET '/../../etc/passwd' --path-as-is
    expect_status 404
    api GET '/v1/tables/%2e%2e/rows' --path-as-is
    expect_status 404
    api GET '/v1/tables/../tables' --path-as-is
    expect_status 404
    api GET '/v1/tables?nonsense=1'
    expect_status 400
    expect .code '"unknown_parameter"'
    api GET '/v1/tables?limit=1&limit=2'
    expect_status 400
    api GET '/v1/tables?limit=%00'
    expect_status 400
    stop_server
}

test_unknown_methods_are_told_what_there_is()
{
    start_server
    for method in TRACE CONNECT OPTIONS PATCH FOO; do
        raw "$method /v1/tables/t HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
        [ "$STATUS" = 405 ] || fail "$method: $STATUS"
        grep -aq '^Allow: DELETE, GET, HEAD, PUT' "$BODY" || fail "$method: $(grep -a ^Allow "$BODY")"
    done
    raw "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
    [ "$STATUS" = 405 ] || fail "CONNECT: $STATUS"
    api DELETE /livez
    expect_status 405
    expect_header Allow 'GET, HEAD'
    api GET /v1/nothing
    expect_status 404
    stop_server
}

test_heads_and_targets_have_a_size()
{
    start_server
    local long
    long=$(head -c 20000 /dev/zero | tr '\0' a)
    api GET /livez -H "A: $long"
    expect_status 431
    api GET "/$long"
    expect_status 414
    # what libmicrohttpd itself cannot hold in its pool and would leave hanging
    local many
    many=$(seq 1 2500 | sed 's/.*/a/' | paste -sd'&')
    raw "GET /v1/tables?$many HTTP/1.1\r\n${H}Authorization: Bearer $TOKEN\r\nConnection: close\r\n\r\n"
    [ "$STATUS" = 400 ] || fail "2,500 query parameters: '$STATUS'"
    raw "GET /livez HTTP/1.1\r\n${H}Cookie: ${many//&/;}\r\nConnection: close\r\n\r\n"
    [ "$STATUS" = 200 ] || fail "2,500 cookies: '$STATUS'"
    raw "GET /livez?x?y HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
    [ "$STATUS" = 400 ] || fail "unknown parameter: '$STATUS'"
    stop_server
}

test_refusals_cost_no_body()
{
    start_server
    auth
    head -c 20000000 /dev/zero >"$WORK/zeros"
    local sent
    sent=$(curl -sS -o /dev/null -w '%{http_code} %{size_upload}' -X POST -H 'Authorization: Bearer slc_wrong' \
        -H 'Content-Type: application/json' --data-binary "@$WORK/zeros" "$URL/v1/tables/t/batches") ||
        true # curl may fail where the server closes early: the status counts
    [ "$sent" = "401 0" ] || fail "wrong token with Expect: $sent"
    raw "POST /v1/tables/t/batches HTTP/1.1\r\n${H}Content-Length: 20000000\r\n\r\n"
    [ "$STATUS" = 401 ] || fail "no token: $STATUS"
    [ "$CLOSED" = yes ] || fail "no token: the connection waits for a body"
    raw "${POST}Content-Length: 999999999999\r\n\r\n"
    [ "$STATUS" = 413 ] || fail "length over the limit: $STATUS"
    raw "${POST}Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n"
    [ "$STATUS" = 413 ] || fail "Expect over the limit: $STATUS"
    raw "POST /v1/tables/t/batches HTTP/1.1\r\n${H}Authorization: Bearer $TOKEN\r\nContent-Type: image/png\r\nContent-Length: 20000000\r\n\r\n"
    [ "$STATUS" = 415 ] || fail "content type: $STATUS"
    raw "${POST}Content-Encoding: br\r\nContent-Length: 20000000\r\n\r\n"
    [ "$STATUS" = 415 ] || fail "content coding: $STATUS"
    grep -aqi '^Accept-Encoding: gzip, zstd' "$BODY" || fail "415 without Accept-Encoding"
    raw "${POST}Connection: close\r\n\r\n"
    [ "$STATUS" = 411 ] || fail "no length: $STATUS"
    # no length announced: refused at the first chunk over the limit
    sent=$(head -c 3000000 /dev/zero | curl -sS -o /dev/null -w '%{http_code}' -X PUT -T - \
        -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$URL/v1/tables/t") ||
        true # likewise
    [ "$sent" = 413 ] || fail "chunked over the limit: $sent"
    stop_server
}

elapsed_of()
{
    local started=${EPOCHREALTIME/./}
    "$@" || true
    echo $(((${EPOCHREALTIME/./} - started) / 1000))
}

# Send a byte of $2 every 0.2 s until the server closes; the last argument is a file for what it said.
drip()
{
    local host=${URL#http://}
    exec 8<>"/dev/tcp/${host%:*}/${host##*:}"
    # shellcheck disable=SC2059
    printf "$1" >&8
    (
        trap '' PIPE
        while printf '%s' "$2" >&8; do read -r -t 0.2 <>"$WORK/never" || true; done
    ) 2>/dev/null &
    local dripping=$!
    timeout 10 cat <&8 >/dev/null 2>&1 || true
    kill "$dripping" 2>/dev/null || true
    wait "$dripping" 2>/dev/null || true
    exec 8<&- 8>&-
}

test_slow_clients_are_cut_off_at_absolute_deadlines()
{
    start_server --head-milliseconds 1000 --body-milliseconds 1000 --transfer-bytes-per-second 1000000
    auth
    mkfifo "$WORK/never" 2>/dev/null || true
    local took
    took=$(elapsed_of drip 'GET /livez HTTP/1.1\r\nA: ' a)
    [ "$took" -lt 2500 ] || fail "a dripped head lived $took ms"
    [ "$took" -gt 800 ] || fail "a dripped head was closed after $took ms"
    took=$(elapsed_of drip "${POST}Content-Length: 100000\r\n\r\n" a)
    [ "$took" -lt 2500 ] || fail "a dripped body lived $took ms"
    took=$(elapsed_of raw '' 5)
    [ "$took" -lt 2500 ] || fail "a silent connection lived $took ms"
    api GET /livez
    expect_status 200
    stop_server
}

descriptors()
{
    find "/proc/$SERVER_PID/fd" -mindepth 1 | wc -l
}

resident_kib()
{
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$SERVER_PID/status"
}

# What slowhttptest does: 500 slow heads, 200 slow bodies and 200 slow readers at once.
test_very_many_slow_clients_harm_nobody()
{
    local slow before after memory tools
    start_server --head-milliseconds 2000 --body-milliseconds 2000 --transfer-bytes-per-second 1000000
    create t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'
    echo '{"id":"a"}' >"$WORK/one.ndjson"
    post t "$WORK/one.ndjson"
    before=$(descriptors)
    memory=$(resident_kib)
    tools=$(realpath "$TOOLS")
    (cd "$WORK" && exec "$tools/slow_clients" "${URL##*:}" "$TOKEN" t 500 200 200 15) >"$WORK/slow" &
    slow=$!
    wait_for test -e "$WORK/ready" || fail "the slow clients do not get in"
    local round
    for round in $(seq 1 20); do
        api GET "/v1/tables/t/rows?limit=1" --interface 127.0.0.5
        expect_status 200
        echo "{\"id\":\"$round\"}" >"$WORK/one.ndjson"
        post t "$WORK/one.ndjson" --interface 127.0.0.5
        expect_status 200
    done
    after=$(resident_kib)
    is_sanitized || [ $((after - memory)) -lt 100000 ] || fail "900 slow clients took $((after - memory)) KiB"
    wait "$slow" || fail "slow clients are still there after 15 seconds: $(cat "$WORK/slow")"
    as_before()
    {
        [ "$(descriptors)" -le $((before + 2)) ]
    }
    wait_for as_before || fail "$before descriptors became $(descriptors)"
    api GET /metrics
    grep -q '^sluice_http_overdue_connections_total [1-9]' "$BODY" || fail "nobody was overdue"
    stop_server
}

test_one_address_cannot_take_all_connections()
{
    start_server --connections-per-address 20
    local host=${URL#http://} i fd open=()
    for i in $(seq 1 40); do
        # connects are accepted by the kernel; the server closes those over its limit
        if exec {fd}<>"/dev/tcp/${host%:*}/${host##*:}"; then
            open+=("$fd")
        fi
    done
    local other
    other=$(curl -sS --interface 127.0.0.2 -o /dev/null -w '%{http_code}' "$URL/livez") || true
    [ "$other" = 200 ] || fail "a client of another address got '$other'"
    for fd in "${open[@]}"; do
        exec {fd}>&-
    done
    alive()
    {
        [ "$(curl -s -o /dev/null -w '%{http_code}' "$URL/livez")" = 200 ]
    }
    wait_for alive || fail "the address stays locked out"
    stop_server
}

test_wrong_tokens_are_slowed_down_and_right_ones_are_not()
{
    start_server --auth-failures-per-minute 5
    local code i
    for i in 1 2 3 4 5; do
        code=$(curl -sS -o /dev/null -w '%{http_code}' -H "Authorization: Bearer slc_guess$i" "$URL/v1/tables")
        [ "$code" = 401 ] || fail "guess $i: $code"
    done
    code=$(curl -sS -o /dev/null -D "$HEADERS" -w '%{http_code}' -H 'Authorization: Bearer slc_guess' "$URL/v1/tables")
    [ "$code" = 429 ] || fail "guess 6: $code"
    expect_header Retry-After '^[0-9]+$'
    api GET /v1/tables
    expect_status 200
    stop_server
}

test_answers_name_the_request_and_keep_the_connection()
{
    start_server
    local count
    count=$(curl -sS -o /dev/null -o /dev/null -w '%{num_connects}\n' "$URL/livez" "$URL/readyz" | awk '{ n += $1 } END { print n }')
    [ "$count" = 1 ] || fail "two requests took $count connections"
    api GET /v1/tables -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    expect_header traceparent '^00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01$'
    expect_header X-Request-Id '^[0-9a-f-]{36}$'
    api GET /v1/tables -H 'traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01'
    expect_header traceparent '^00-[0-9a-f]{32}-[0-9a-f]{16}-00$'
    STATUS=$(curl -sS -I -o "$BODY" -w '%{http_code}' "$URL/livez")
    expect_status 200
    grep -qi '^content-length: 1[0-9]' "$BODY" || fail "HEAD without the length of GET"
    stop_server
}
