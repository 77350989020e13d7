# Stopping, and small promises of the contract.
# shellcheck shell=bash

test_stop_during_a_long_merge_takes_no_longer_than_promised()
{
    start_server --stop-seconds 1
    create t '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"p","type":"integer"},{"name":"v","type":"integer"}]},
        "key":["id"],"partition_by":["p"]}'
    # a file for each partition that is patched: seconds of merging
    local first
    for first in 1 2001 4001 6001; do
        seq "$first" $((first + 1999)) | sed 's/.*/{"id":&,"p":&}/' >"$WORK/a.ndjson"
        post t "$WORK/a.ndjson"
        expect_status 200
    done
    seq 1 8000 | sed 's/.*/{"id":&,"v":&}/' >"$WORK/a.ndjson"
    api POST '/v1/tables/t/batches?operation=patch' -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/a.ndjson"
    expect_status 202
    local began=$SECONDS
    stop_server
    [ $((SECONDS - began)) -le 5 ] || fail "stopping took $((SECONDS - began)) s"
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}

test_limits_of_the_contract()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false}]},"key":["id"]}'
    api GET '/v1/tables/t/rows?version=0&timestamp=2099-01-01T00:00:00Z'
    expect_status 400
    local seconds
    for seconds in 1 31622400; do
        api POST /v1/tokens -H 'Content-Type: application/json' -d "{\"principal\":\"admin\",\"expires_in_seconds\":$seconds}"
        expect_status 201
    done
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"admin","expires_in_seconds":31622401}'
    expect_status 400
}
