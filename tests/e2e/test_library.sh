# The table layer without the server: a program that links it alone writes what the server reads.
# shellcheck shell=bash

test_a_program_appends_through_the_library()
{
    start_server
    create feed '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"amount","type":"decimal(10,2)"},{"name":"day","type":"date"}]},"merge":"append"}'
    echo '{"id":"a","amount":1.5,"day":"2026-01-31"}' >"$WORK/a.ndjson"
    post feed "$WORK/a.ndjson" -H 'Idempotency-Key: 1'
    expect_status 200
    local table
    table=$(dirname "$(find "$DATA/tables" -name _delta_log)")
    printf '%s\n' '{"id":"b","amount":12345678.99,"day":null}' '{"id":"c"}' >"$WORK/b.ndjson"
    "$TOOLS/append_rows" "$table" "$WORK/b.ndjson" nightly 7 >"$WORK/out" || fail "it does not append"
    grep -qx 'version 2, 2 rows more' "$WORK/out" || fail "$(cat "$WORK/out")"
    "$TOOLS/append_rows" "$table" "$WORK/b.ndjson" nightly 7 >"$WORK/out" # again: once is enough
    grep -qx 'version 2 has them already' "$WORK/out" || fail "$(cat "$WORK/out")"
    echo '{"id":"d","day":"soon"}' >"$WORK/c.ndjson"
    ! "$TOOLS/append_rows" "$table" "$WORK/c.ndjson" nightly 8 2>"$WORK/error" || fail "took a broken record"
    grep -q 'line 1 /day' "$WORK/error" || fail "$(cat "$WORK/error")"
    seen()
    {
        api GET '/v1/tables/feed/rows'
        [ "$(jq -c '[.rows[].id] | sort' "$BODY")" = '["a","b","c"]' ]
    }
    wait_for seen || fail "the server does not follow: $(cat "$BODY")"
    stop_server
}

test_the_library_knows_neither_server_nor_database()
{
    local library
    library=$(dirname "$TOOLS")/../libsluice_delta.a
    [ -e "$library" ] || fail "there is no $library"
    nm -u "$library" | awk '{ print $2 }' | grep -E '^(MHD_|sqlite3_|curl_|yaml_)' >"$WORK/strangers" || true
    [ ! -s "$WORK/strangers" ] || fail "needs $(tr '\n' ' ' <"$WORK/strangers")"
}
