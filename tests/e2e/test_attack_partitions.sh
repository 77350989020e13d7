# Values that a table is partitioned by: what Delta or a file system cannot hold
# is refused at the door, and the server goes on.
# shellcheck shell=bash

test_partition_values_that_cannot_be()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"p","type":"string"},
        {"name":"v","type":"string"}]},"key":["id"],"partition_by":["p"]}'
    local long
    long=$(printf 'x%.0s' {1..300})
    printf '{"id":1,"p":"%s"}\n{"id":2,"p":""}\n{"id":3,"p":"%s"}\n{"id":4,"p":".."}\n{"id":5,"p":null}\n' \
        "$long" "${long:0:256}" >"$WORK/p.ndjson"
    post t "$WORK/p.ndjson"
    expect_status 200
    expect '[.errors[]|[.line,.code]]' '[[1,"too_long"],[2,"range"]]'
    expect .records.applied 3
    api GET '/v1/tables/t/rows'
    expect '[.rows[]|[.id,(.p//""|length)]]|sort' '[[3,256],[4,2],[5,0]]'
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}

# partitions FIRST LAST: one record for each
partitions()
{
    seq "$1" "$2" | awk '{ printf "{\"id\":%d,\"p\":%d}\n", $1, $1 }' >"$WORK/p.ndjson"
}

test_a_batch_of_very_many_partitions()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"p","type":"integer"},{"name":"v","type":"string"}]},
        "key":["id"],"partition_by":["p"]}'
    partitions 1 2001
    post t "$WORK/p.ndjson"
    expect_status 413
    expect .code '"too_large"'
    expect '.detail|test("2000 partitions")' true
    partitions 1 2000
    post t "$WORK/p.ndjson"
    expect_status 200
    expect .records.applied 2000
    # rows that move to other partitions, and rows of partitions that are there
    sed -i 's/"p":\([0-9]*\)\([02468]\)}/"p":1\1\2,"v":"moved"}/' "$WORK/p.ndjson"
    post t "$WORK/p.ndjson"
    expect_status 200
    expect .records.applied 2000
    api GET '/v1/tables/t'
    expect .rows 2000
    api GET '/v1/tables/t/rows?filter=p:in:7,16,6&columns=id,p,v'
    expect '[.rows[]|[.id,.p,.v]]|sort' '[[6,16,"moved"],[7,7,null]]'
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}

test_batches_of_many_partitions_are_committed_apart()
{
    start_server --commit-interval-milliseconds 1000
    create t '{"schema":{"fields":[{"name":"id","type":"integer","nullable":false},{"name":"p","type":"integer"}]},"key":["id"],"partition_by":["p"]}'
    local i
    for i in 0 1 2; do # the first is committed at once, the others wait together
        partitions $((i * 1200 + 1)) $((i * 1200 + 1200))
        api POST /v1/tables/t/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/p.ndjson"
        expect_status 202
    done
    api GET "/v1/batches/$(jq -r .batch_id "$BODY")" -H 'Prefer: wait=30'
    expect .state '"indexed"'
    expect .version 3
    api GET /v1/tables/t
    expect .rows 3600
}
