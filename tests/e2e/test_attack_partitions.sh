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
