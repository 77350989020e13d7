# Tables made and dropped by several clients at once.
# shellcheck shell=bash

DEFINITION='{"schema":{"fields":[{"name":"id","type":"integer","nullable":false}]},"key":["id"]}'

# make_and_drop N: requests in one curl, answers' statuses to a file
make_and_drop()
{
    local config=$WORK/race.$1 i
    for i in $(seq 1 40); do
        printf 'next\nsilent\noutput=/dev/null\nwrite-out="%%{http_code}\\n"\nheader="Authorization: Bearer %s"\nurl="%s/v1/tables/t"\n' \
            "$TOKEN" "$URL"
        if [ $(((i + $1) % 2)) -eq 0 ]; then
            printf 'request=DELETE\n'
        else
            printf 'request=PUT\nheader="Content-Type: application/json"\ndata="%s"\n' "${DEFINITION//\"/\\\"}"
        fi
    done >"$config"
    curl -K "$config" >"$WORK/statuses.$1"
}

test_racing_definitions_leave_no_ghost()
{
    start_server
    local i racers=()
    for i in 1 2 3 4 5 6; do
        make_and_drop "$i" &
        racers+=($!)
    done
    wait "${racers[@]}"
    ! grep -hvE '^(200|201|204|404|409)$' "$WORK"/statuses.* || fail "unexpected statuses"
    api DELETE /v1/tables/t
    api GET /v1/tables/t/rows
    expect_status 404
    create t "$DEFINITION"
    printf '{"id":1}\n' >"$WORK/a.ndjson"
    post t "$WORK/a.ndjson"
    expect_status 200
    stop_server
    [ -z "$(find "$DATA" -perm /077)" ] || fail "open to others: $(find "$DATA" -perm /077)"
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}
