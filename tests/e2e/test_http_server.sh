# Start, stop, settings and TLS of the server.
# shellcheck shell=bash

# refuses CODE PATTERN flags…: `serve` ends with that exit code and says why.
refuses()
{
    local code=$1 pattern=$2 got=0
    shift 2
    timeout 20 "$SLUICE" serve "$@" 2>"$WORK/refusal" || got=$?
    [ "$got" = "$code" ] || fail "serve $*: exit $got, expected $code: $(cat "$WORK/refusal")"
    grep -Eq -- "$pattern" "$WORK/refusal" || fail "serve $*: $(cat "$WORK/refusal")"
}

certificate()
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
    chmod 600 "$WORK/key.pem"
}

test_insecure_starts_are_refused()
{
    refuses 77 'plain HTTP' --data "$DATA" --listen 0.0.0.0:0
    certificate
    chmod 644 "$WORK/key.pem"
    refuses 77 'chmod 600' --data "$DATA" --listen 127.0.0.1:0 --tls-cert "$WORK/cert.pem" --tls-key "$WORK/key.pem"
    refuses 78 'go together' --data "$DATA" --listen 127.0.0.1:0 --tls-cert "$WORK/cert.pem"
    start_server
    stop_server
    chmod 644 "$DATA/admin.token"
    refuses 77 'chmod go-rwx' --data "$DATA" --listen 127.0.0.1:0
    chmod 600 "$DATA/admin.token"
    chmod 755 "$DATA"
    refuses 77 'chmod go-rwx' --data "$DATA" --listen 127.0.0.1:0
    chmod 700 "$DATA"
}

test_a_second_server_is_refused()
{
    start_server
    refuses 75 "$SERVER_PID" --data "$DATA" --listen 127.0.0.1:0
    refuses 65 'taken' --data "$WORK/other" --listen "${URL#http://}"
    api GET /livez
    expect_status 200
    stop_server
    [ ! -e "$DATA/endpoint" ] || fail "the endpoint stays behind"
}

test_settings_come_from_flags_environment_and_file()
{
    printf '# a comment\n\nauth-failures-per-minute = 1\nbatch-records = 7\n' >"$WORK/settings"
    export SLUICE_BATCH_RECORDS=0
    refuses 78 'SLUICE_BATCH_RECORDS: batch-records must be a whole number from 1 to' --data "$DATA"
    unset SLUICE_BATCH_RECORDS
    printf 'nonsense = 1\n' >"$WORK/bad"
    refuses 78 "bad:1: no setting 'nonsense'" --data "$DATA" --config "$WORK/bad"
    refuses 78 "no flag '--nonsense'" --data "$DATA" --nonsense 1
    refuses 78 'HOST:PORT' --data "$DATA" --listen nonsense
    # file: 1 failure; environment: 2; flag: 3
    start_server --config "$WORK/settings"
    guesses_before_429 1
    stop_server
    export SLUICE_AUTH_FAILURES_PER_MINUTE=2
    start_server --config "$WORK/settings"
    guesses_before_429 2
    stop_server
    start_server --config "$WORK/settings" --auth-failures-per-minute=3
    guesses_before_429 3
    stop_server
    unset SLUICE_AUTH_FAILURES_PER_MINUTE
}

guesses_before_429()
{
    local guesses=0
    while [ "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer slc_x' "$URL/v1/tables")" = 401 ]; do
        guesses=$((guesses + 1))
    done
    [ "$guesses" = "$1" ] || fail "$guesses guesses, expected $1"
}

test_help_names_every_setting()
{
    "$SLUICE" serve --help >"$WORK/help"
    "$SLUICE" serve --help-markdown >"$WORK/markdown"
    local name
    for name in $(grep -oE '^\| `[a-z-]+`' "$WORK/markdown" | tr -d '|` '); do
        grep -q -- "--$name " "$WORK/help" || fail "--help lacks $name"
    done
    [ "$(grep -c '^| `' "$WORK/markdown")" -ge 30 ] || fail "settings are missing"
    "$SLUICE" --help | grep -q serve || fail "the program's help lacks serve"
    local code=0
    "$SLUICE" nonsense 2>/dev/null || code=$?
    [ "$code" = 64 ] || fail "unknown command: exit $code"
}

test_roots_of_jobs_are_checked_at_the_start()
{
    local code
    mkdir "$WORK/drop"
    refused()
    {
        code=0
        "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 "$@" 2>"$WORK/said" || code=$?
    }
    refused --source-roots "$WORK/drop:$DATA"
    [ "$code" = 77 ] || fail "the data directory as a source root: exit $code"
    grep -q 'a folder of their own' "$WORK/said" || fail "said $(cat "$WORK/said")"
    refused --export-roots "$WORK"
    [ "$code" = 77 ] || fail "an export root around the data directory: exit $code"
    refused --source-roots "$WORK/absent"
    [ "$code" = 66 ] || fail "an absent root: exit $code"
    refused --source-roots drop
    [ "$code" = 65 ] || fail "a relative root: exit $code"
    start_server --source-roots "$WORK/drop" --export-roots "$WORK/drop"
    stop_server
}

test_sigterm_finishes_what_is_in_flight()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'
    local host=${URL#http://} pid=$SERVER_PID
    exec 7<>"/dev/tcp/${host%:*}/${host##*:}"
    printf 'POST /v1/tables/t/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 11\r\n\r\n{"id"' "$TOKEN" >&7
    in_flight()
    {
        curl -sS -o "$WORK/metrics" -H "Authorization: Bearer $TOKEN" "$URL/metrics"
        grep -q "^sluice_http_requests_in_flight 2$" "$WORK/metrics"
    }
    wait_for in_flight || fail "the request did not get in"
    kill -TERM "$pid"
    gone()
    {
        ! curl -s -o /dev/null "$URL/livez"
    }
    wait_for gone || fail "still accepts connections"
    printf ':"a"}\n' >&7
    timeout 5 cat <&7 >"$BODY" || fail "no answer to the request in flight"
    exec 7<&- 7>&-
    grep -q '^HTTP/1.1 202' "$BODY" || fail "in flight: $(head -1 "$BODY")"
    grep -qi '^connection: close' "$BODY" || fail "the connection is not closed"
    local code=0
    wait "$pid" || code=$?
    SERVER_PID=""
    [ "$code" = 0 ] || fail "exit $code"
}


test_tls()
{
    certificate
    start_server --tls-cert "$WORK/cert.pem" --tls-key "$WORK/key.pem"
    case $URL in https://*) ;; *) fail "$URL is not https" ;; esac
    local address=${URL#https://}
    api GET /readyz --cacert "$WORK/cert.pem"
    expect_status 200
    expect_header Strict-Transport-Security max-age
    local version
    for version in 1.2 1.3; do
        curl -sS -o /dev/null --cacert "$WORK/cert.pem" "--tlsv$version" --tls-max "$version" "$URL/livez" || fail "TLS $version"
    done
    ! openssl s_client -connect "$address" -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null >/dev/null 2>&1 || fail "TLS 1.1 is accepted"
    ! openssl s_client -connect "$address" -tls1_2 -cipher AES128-SHA </dev/null >/dev/null 2>&1 || fail "CBC without forward secrecy is accepted"
    # the guard reads behind TLS as well
    printf 'POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n' |
        timeout 3 openssl s_client -quiet -connect "$address" 2>/dev/null >"$BODY" || true
    [ "$(grep -ac '^HTTP/1.1 400' "$BODY")" = 1 ] || fail "smuggling over TLS: $(grep -a ^HTTP "$BODY")"
    [ "$(grep -ac '^HTTP/1.1' "$BODY")" = 1 ] || fail "the second request was served"
    # a body larger than a record, and a plain client
    head -c 900000 /dev/zero | tr '\0' ' ' >"$WORK/blank"
    api PUT /v1/tables/u --cacert "$WORK/cert.pem" -H 'Content-Type: application/json' --data-binary "@$WORK/blank"
    expect_status 400
    ! curl -s -m 3 -o /dev/null "http://$address/livez" || fail "plain HTTP on the TLS port"
    stop_server
}

test_readers_that_do_not_read_are_cut_off()
{
    start_server --transfer-bytes-per-second 100000000
    local host=${URL#http://}
    exec 7<>"/dev/tcp/${host%:*}/${host##*:}"
    local i
    for i in $(seq 1 200); do printf 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n' >&7; done
    overdue()
    {
        curl -sS -o "$WORK/metrics" -H "Authorization: Bearer $TOKEN" "$URL/metrics"
        grep -q "^sluice_http_overdue_connections_total 1$" "$WORK/metrics"
    }
    local tries=0
    until overdue; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || fail "a reader that does not read is still there"
        read -r -t 0.1 <>"$WORK/never" || true
    done
    exec 7<&- 7>&-
    stop_server
}
