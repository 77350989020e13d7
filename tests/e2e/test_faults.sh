# Poison batches, failed fsyncs, full disks: what fails is told, nothing acknowledged is lost.
# Needs a program with fault points compiled in (make FLAVOUR=faults), named by
# SLUICE_FAULTS_PROGRAM; `make crash` does so.
# shellcheck shell=bash

TABLE_FAULTS_ITEMS='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"}]},"key":["id"]}'
TABLE_FAULTS_EVENTS='{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"merge":"append"}'

POISON_ROWS=7     # merging a batch of so many records ends the process
DISK_BYTES=768M   # journals and the audit log's reserve are laid out beforehand
EVENTS=40

need_faults()
{
    [ -n "${SLUICE_FAULTS_PROGRAM:-}" ] || skip "SLUICE_FAULTS_PROGRAM names no program with fault points"
    SLUICE=$SLUICE_FAULTS_PROGRAM
}

# rows PREFIX COUNT: so many records in $WORK/rows.ndjson
rows()
{
    local i
    for i in $(seq "$2"); do
        printf '{"id":"%s-%d","n":%d}\n' "$1" "$i" "$i"
    done >"$WORK/rows.ndjson"
}

# The server ends by itself, with this exit code (134: a failed assertion or no memory).
expect_end()
{
    local code=0
    wait "$SERVER_PID" || code=$?
    SERVER_PID=""
    [ "$code" -eq "$1" ] || fail "the server ended with $code instead of $1"
}

# Serve until the server ends by itself, however early.
serve_to_the_end()
{
    rm -f "$DATA/endpoint"
    timeout 30 "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 2>>"$LOG" &
    SERVER_PID=$!
    expect_end "$1"
}

queue_is_empty()
{
    api GET "/v1/tables/$1"
    [ "$STATUS" = 200 ] && [ "$(jq .queued_batches "$BODY")" = 0 ]
}

# STATUS 000: the merge ended the process before its answer was out
post_poison()
{
    rows poison "$POISON_ROWS"
    STATUS=$(curl -sS -o "$BODY" -D "$HEADERS" -w '%{http_code}' -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/x-ndjson' -H 'Idempotency-Key: "poison"' \
        --data-binary "@$WORK/rows.ndjson" "$URL/v1/tables/items/batches" 2>/dev/null) || true
}

poison()
{
    local action=$1 batch=""
    export SLUICE_FAULTS="merge.poison=$action@$POISON_ROWS"
    start_server
    create items "$TABLE_FAULTS_ITEMS"
    create others "$TABLE_FAULTS_ITEMS"
    rows before 3
    post items "$WORK/rows.ndjson"
    expect_status 200
    post_poison
    case $STATUS in
    202) batch=$(jq -r .batch_id "$BODY") ;;
    000) ;;
    *) fail "status $STATUS for the poison" ;;
    esac
    expect_end 134
    serve_to_the_end 134

    start_server
    if [ -z "$batch" ]; then
        post_poison
        batch=$(jq -r .batch_id "$BODY")
    fi
    api GET "/v1/batches/$batch" -H 'Prefer: wait=30'
    expect_status 200
    expect .state '"failed"'
    expect .failure.code '"poison"'
    rows after 4
    post items "$WORK/rows.ndjson"
    expect_status 200
    post others "$WORK/rows.ndjson"
    expect_status 200
    api GET '/v1/tables/items/rows?limit=100'
    expect '[.rows[].id]|sort' '["after-1","after-2","after-3","after-4","before-1","before-2","before-3"]'
    api GET "/v1/dead-letters?batch=$batch"
    expect_status 200
    expect '.dead_letters|length' 1
    expect '.dead_letters[0].code' '"poison"'

    # the same post again is answered with what became of it, and does not start it anew
    post_poison
    expect .batch_id "\"$batch\""
}

test_batch_whose_merge_fails_an_assertion()
{
    need_faults
    poison abort
}

test_batch_whose_merge_runs_out_of_memory()
{
    need_faults
    poison memory
}

# Post events 1 to EVENTS, one a batch; a post without answer is repeated after a
# restart with the same key. With the fault, the server must end with 74 (I/O error).
events_survive()
{
    local fault=$1 i ended=0
    start_server
    create events "$TABLE_FAULTS_EVENTS"
    stop_server
    SLUICE_FAULTS=$fault start_server
    for i in $(seq "$EVENTS"); do
        until post_event "$i"; do
            [ "$ended" -eq 0 ] || fail "event $i: no answer, although no fault is left"
            expect_end 74
            ended=1
            start_server
        done
    done
    if [ "$ended" -eq 0 ]; then # the fault hit behind the last acknowledgement
        wait_for server_has_ended || fail "$fault: never hit"
        expect_end 74
        start_server
    fi
    wait_for queue_is_empty events || fail "the queue does not run empty"
    api GET '/v1/tables/events/rows?limit=1000'
    expect '.rows|length' "$EVENTS"
    expect '[.rows[].id]|unique|length' "$EVENTS"
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
}

server_has_ended()
{
    ! kill -0 "$SERVER_PID" 2>/dev/null
}

# 202 is an acknowledgement; no answer is none; anything else fails the test
post_event()
{
    printf '{"id":"event-%d"}\n' "$1" >"$WORK/event"
    STATUS=$(curl -sS -o "$BODY" -D "$HEADERS" -w '%{http_code}' -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/x-ndjson' -H "Idempotency-Key: \"event-$1\"" \
        --data-binary "@$WORK/event" "$URL/v1/tables/events/batches" 2>/dev/null) || return 1
    case $STATUS in
    202) return 0 ;;
    503) wait_for server_has_ended && return 1 ;;
    esac
    fail "event $1: status $STATUS"
}

# A first start that dies at the N-th passing of POINT, and the next one, whose token must open
# the door. Returns 1 when POINT is not passed so often.
first_start_dies()
{
    local code=0
    rm -rf "$DATA"
    mkdir -m 700 "$DATA"
    SLUICE_FAULTS="$1@$2" "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 2>>"$LOG" &
    SERVER_PID=$!
    wait_for server_is_up
    [ ! -s "$DATA/endpoint" ] || return 1
    wait "$SERVER_PID" 2>/dev/null || code=$?
    SERVER_PID=""
    [ "$code" -ne 0 ] || fail "$1@$2: the first start ended by itself"
    start_server
    api GET /v1/principals
    [ "$STATUS" = 200 ] || fail "$1@$2: the token of the next start is refused"
    expect '[.principals[].name]' '["admin"]'
    stop_server
}

test_a_first_start_that_dies_leaves_a_way_in()
{
    need_faults
    local point n
    for point in access.token-kept=crash access.token-kept=fail catalog.commit=crash catalog.committed=crash \
        file.sync=crash file.sync-directory=crash; do
        n=1
        while first_start_dies "$point" "$n"; do
            n=$((n + 1))
        done
        kill -KILL "$SERVER_PID" 2>/dev/null || true # the fault may have hit behind the start
        wait "$SERVER_PID" 2>/dev/null || true
        SERVER_PID=""
        [ "$n" -gt 1 ] || fail "$point is not on the way of a first start"
    done
}

TABLE_FAULTS_WIDER='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"},{"name":"note","type":"string"}]},"key":["id"]}'

# change_items: PUT the wider definition; STATUS 000 when the server died of it
change_items()
{
    local etag
    api GET /v1/tables/items
    etag=$(jq -r '"\"\(.table_id)-\(.definition_version)\""' "$BODY")
    STATUS=$(curl -sS -o "$BODY" -D "$HEADERS" -w '%{http_code}' -X PUT -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' -H "If-Match: $etag" --data-binary "$TABLE_FAULTS_WIDER" \
        "$URL/v1/tables/items" 2>/dev/null) || true
}

# definition_is VERSION: what the table says it is, and what it does to records, agree
definition_is()
{
    local wide=$(($1 - 1))
    api GET /v1/tables/items
    expect .definition_version "$1"
    expect '.definition.schema.fields|length' $((2 + wide))
    expect_header ETag "-$1\"$"
    api GET /v1/tables
    expect '.tables[0].definition_version' "$1"
    printf '{"id":"wide","note":"x"}\n' >"$WORK/wide.ndjson"
    post items "$WORK/wide.ndjson"
    expect .records.applied "$wide"
}

definition_becomes()
{
    local tries=0
    until api GET /v1/tables/items && [ "$(jq .definition_version "$BODY")" = "$1" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "the definition never becomes $1"
        read -r -t 0.01 <>"$WORK/never" || true
    done
}

items_under_faults()
{
    need_faults
    start_server
    create items "$TABLE_FAULTS_ITEMS"
    rows before 3
    post items "$WORK/rows.ndjson"
    stop_server
    SLUICE_FAULTS=$1 start_server
    change_items
}

# After VERSION was found in force, so it stays over a restart, and the change can be made.
definition_stays()
{
    definition_is "$1"
    kill_server
    start_server
    definition_is "$1"
    change_items
    expect_status 200
    definition_is 2
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
}

test_a_definition_that_fails_before_the_log_is_nowhere()
{
    items_under_faults definition.commit=fail@1
    expect_status 507
    definition_stays 1
}

test_a_definition_that_dies_before_the_log_is_nowhere()
{
    items_under_faults definition.commit=crash@1
    expect_end 137
    start_server
    definition_stays 1
}

test_a_definition_that_dies_behind_the_log_is_in_force()
{
    items_under_faults definition.follow=crash@1
    expect_end 137
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
    start_server
    definition_stays 2
}

test_a_definition_that_cannot_be_published_is_in_force_soon()
{
    items_under_faults definition.follow=fail@1
    expect_status 507
    definition_becomes 2
    definition_stays 2
}

test_a_definition_without_its_copy_is_in_force()
{
    items_under_faults definition.copy=fail@1
    expect_status 507
    definition_stays 2
}

test_a_definition_that_dies_before_its_copy_is_in_force()
{
    items_under_faults definition.copy=crash@1
    expect_end 137
    start_server
    definition_stays 2
}

test_a_definition_of_which_nobody_knows_ends_the_process()
{
    items_under_faults delta.commit.after-log=fail@1
    expect_end 74
    start_server
    definition_stays 2
}

test_failed_sync_of_the_journal()
{
    need_faults
    events_survive journal.sync=fail@7
}

test_failed_sync_of_a_file()
{
    need_faults
    events_survive file.sync=fail@25
}

test_failed_sync_of_a_folder()
{
    need_faults
    events_survive file.sync-directory=fail@12
}

# A commit of so many partitions that its files are synced as one group.
test_failed_sync_of_a_group_of_files()
{
    need_faults
    SLUICE_FAULTS=file.system-sync=fail@1 start_server
    create spread '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"p","type":"integer"}]},
        "key":["id"],"partition_by":["p"]}'
    seq 100 | awk '{ printf "{\"id\":%d,\"p\":%d}\n", $1, $1 }' >"$WORK/rows.ndjson"
    STATUS=$(curl -sS -o "$BODY" -w '%{http_code}' -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/x-ndjson' \
        -H 'Idempotency-Key: "spread"' --data-binary "@$WORK/rows.ndjson" "$URL/v1/tables/spread/batches" 2>/dev/null) || true
    expect_end 74
    start_server
    post spread "$WORK/rows.ndjson" -H 'Idempotency-Key: "spread"'
    expect_status 200
    expect .records.applied 100
    api GET /v1/tables/spread
    expect .rows 100
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
}

test_no_space_for_one_commit_is_told_and_passes()
{
    need_faults
    SLUICE_FAULTS=catalog.commit=fail@12 start_server
    create items "$TABLE_FAULTS_ITEMS"
    local i refused=0 pid=$SERVER_PID
    for i in $(seq 30); do
        printf '{"id":"item-%d"}\n' "$i" >"$WORK/item.ndjson"
        post items "$WORK/item.ndjson" -H "Idempotency-Key: \"item-$i\""
        if [ "$STATUS" = 507 ]; then
            refused=$((refused + 1))
            expect_header Retry-After '^[0-9]+$'
            post items "$WORK/item.ndjson" -H "Idempotency-Key: \"item-$i\""
        fi
        expect_status 200
    done
    [ "$refused" -le 1 ] || fail "$refused posts were refused"
    [ "$SERVER_PID" = "$pid" ] && kill -0 "$pid" || fail "the server ended"
    api GET '/v1/tables/items/rows?limit=100'
    expect '.rows|length' 30
}

look_up()
{
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d "{\"keys\":[{\"id\":\"$1\"}]}"
    expect_status 200
    expect '.rows[0].found' true
}

test_full_disk_is_told_and_passes()
{
    [ "$(id -u)" -eq 0 ] || skip "a disk of its own to fill needs root"
    mount -t tmpfs -o "size=$DISK_BYTES,mode=0700" tmpfs "$DATA" || skip "no mount allowed here"
    trap 'kill -KILL ${SERVER_PID:-} 2>/dev/null || true; umount -l "$DATA"' EXIT
    start_server
    create items "$TABLE_FAULTS_ITEMS"
    rows first 100
    post items "$WORK/rows.ndjson"
    expect_status 200
    local i key accepted=100 refused=0 pid=$SERVER_PID

    dd if=/dev/zero of="$DATA/ballast" bs=1M 2>/dev/null || true # until nothing goes in any more
    for i in $(seq 200); do
        rows "full$i" 50
        api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' --max-time 5 \
            -H "Idempotency-Key: \"full$i\"" --data-binary "@$WORK/rows.ndjson"
        case $STATUS in
        202) accepted=$((accepted + 50)) ;;
        507) refused=$((refused + 1)); expect_header Retry-After '^[0-9]+$' ;;
        *) fail "status $STATUS on a full disk" ;;
        esac
        look_up "first-$((i % 100 + 1))" # audited, from the reserve
        [ "$refused" -lt 20 ] || break
    done
    [ "$refused" -gt 0 ] || fail "200 batches went onto a full disk"

    rm "$DATA/ballast"
    wait_for space_is_back || fail "still refused with space again"
    accepted=$((accepted + 1))
    [ "$SERVER_PID" = "$pid" ] && kill -0 "$pid" || fail "the server ended"
    wait_for queue_is_empty items || fail "the queue does not run empty"
    api GET /v1/tables/items
    expect .rows "$accepted"
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
}

space_is_back()
{
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' \
        -H 'Idempotency-Key: "again"' --data-binary '{"id":"again"}'
    [ "$STATUS" = 202 ]
}
