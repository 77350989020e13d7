# Batches: accepted durably, merged, counted; bad input answered with a place and a reason.
# shellcheck shell=bash

TABLE_ITEMS='{"schema":{"fields":[
  {"name":"id","type":"string","nullable":false,"max_length":16},
  {"name":"n","type":"integer","minimum":0,"maximum":100},
  {"name":"name","type":"string"},
  {"name":"seq","type":"long","nullable":false}]},
  "key":["id"],"sequence_by":"seq"}'

TABLE_EVENTS='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"}]},"merge":"append"}'

lines()
{
    printf '%s\n' "$@" >"$WORK/batch.ndjson"
}

test_receipt_then_indexed()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"seq":1}' '{"id":"b","n":2,"seq":1}'
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/batch.ndjson"
    expect_status 202
    expect_header Location '^/v1/batches/[0-9a-f-]{36}$'
    expect .records.received 2
    expect .records.accepted 2
    expect .records.rejected 0
    expect .body_sha256 "\"$(sha256sum "$WORK/batch.ndjson" | cut -d' ' -f1)\""
    local batch
    batch=$(jq -r .batch_id "$BODY")
    api GET "/v1/batches/$batch" -H 'Prefer: wait=30'
    expect_status 200
    expect .state '"indexed"'
    expect .records.applied 2
    post items "$WORK/batch.ndjson"
    expect_status 200
    expect_header Preference-Applied 'wait=30'
    expect .state '"indexed"'
    api GET /v1/tables/items/rows
    expect_status 200
    expect '[.rows[].id]|sort' '["a","b"]'
}

test_sequence_decides_and_loser_is_superseded()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":5,"seq":5}'
    post items "$WORK/batch.ndjson"
    lines '{"id":"a","n":3,"seq":3}'
    post items "$WORK/batch.ndjson"
    expect .records.superseded 1
    expect .records.applied 0
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"a"},{"id":"zz"}]}'
    expect_status 200
    expect '.rows[0].row.n' 5
    expect '.rows[1]' '{"key":{"id":"zz"},"found":false,"row":null}'
}

test_patch_insert_delete()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"name":"x","seq":1}'
    post items "$WORK/batch.ndjson"
    lines '{"_op":"patch","id":"a","n":2,"seq":2}' '{"_op":"insert","id":"a","seq":3}' '{"_op":"delete","id":"gone","seq":9}'
    post items "$WORK/batch.ndjson"
    expect_status 200
    expect .records.rejected_at_merge 1
    expect '.errors[0].code' '"key_exists"'
    expect '.errors[0].line' 2
    api GET /v1/tables/items/rows
    expect .rows '[{"id":"a","n":2,"name":"x","seq":2}]'
    lines '{"id":"gone","seq":8}'
    post items "$WORK/batch.ndjson"
    expect .records.superseded 1
    lines '{"id":"gone","seq":10}'
    post items "$WORK/batch.ndjson"
    expect .records.applied 1
}

test_record_errors_become_dead_letters()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"seq":1}' '{"id":"b","n":101,"seq":1}' 'not json' '{"id":"c","zz":1,"seq":1}' '{"n":1,"seq":1}'
    post items "$WORK/batch.ndjson"
    expect_status 200
    expect .records.rejected 4
    local batch
    batch=$(jq -r .batch_id "$BODY")
    api GET "/v1/batches/$batch/errors"
    expect '[.errors[]|[.line,.code]]' '[[2,"range"],[3,"syntax"],[4,"unknown_field"],[5,"key_null"]]'
    expect '.errors[0].pointer' '"/n"'
    api GET "/v1/dead-letters?batch=$batch&code=range"
    expect '.dead_letters|length' 1
    local letter
    letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
    api GET "/v1/dead-letters/$letter"
    expect .payload '"{\"id\":\"b\",\"n\":101,\"seq\":1}"'
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' \
        -d '{"record":{"id":"b","n":100,"seq":1}}'
    expect_status 200
    expect .records.applied 1
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -d '{"record":{"id":"b","n":100,"seq":1}}'
    expect_status 409
    api GET "/v1/dead-letters/$letter"
    expect .state '"applied"'
}

# The letter of the last batch at LINE in $LETTER; its operation is OPERATION.
letter_of()
{
    LETTER=$(jq -r ".dead_letters[] | select(.line == $1) | .dead_letter_id" "$WORK/letters")
    api GET "/v1/dead-letters/$LETTER"
    expect .operation "\"$2\""
}

replay_letter()
{
    api POST "/v1/dead-letters/$LETTER/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d "$1"
}

test_dead_letters_keep_the_operation_of_their_record()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"name":"x","seq":1}' '{"id":"e","n":1,"seq":1}'
    post items "$WORK/batch.ndjson"
    lines '{"_op":"delete","id":"a","seq":"?"}' '{"id":"b","n":101,"seq":1}' '{"_op":"remove","id":"c","seq":1}' \
        '{"_op":"insert","id":"e","n":2,"seq":2}' '{"_op":"patch","id":"f","n":3,"seq":3}'
    post items "$WORK/batch.ndjson" # the default operation is upsert
    expect_status 200
    api GET "/v1/dead-letters?table=items&batch=$(jq -r .batch_id "$BODY")"
    cp "$BODY" "$WORK/letters"
    expect '[.dead_letters[] | [.line, .operation]] | sort' '[[1,"delete"],[2,"upsert"],[3,"upsert"],[4,"insert"]]'
    # an insert that met its key is no upsert when it is replayed as it stands
    letter_of 4 insert
    replay_letter '{}'
    api GET "/v1/dead-letters/$LETTER"
    expect '[.state, .code]' '["pending","key_exists"]'
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"e"}]}'
    expect '.rows[0].row.n' 1
    # a corrected record without _op is still the delete it was
    letter_of 1 delete
    replay_letter '{"record":{"id":"a","seq":2}}'
    expect_status 200
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"a"}]}'
    expect '.rows[0].found' false
}

test_a_patch_refused_at_merge_clears_nothing_when_replayed()
{
    start_server
    create strict '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer","nullable":false},
        {"name":"name","type":"string"},{"name":"seq","type":"long","nullable":false}]},"key":["id"],"sequence_by":"seq"}'
    lines '{"_op":"patch","id":"f","name":"y","seq":3}'
    post strict "$WORK/batch.ndjson"
    expect .records.rejected_at_merge 1
    api GET "/v1/dead-letters?table=strict"
    cp "$BODY" "$WORK/letters"
    letter_of 1 patch
    expect .payload '"{\"id\":\"f\",\"name\":\"y\",\"seq\":3}"'
    lines '{"id":"f","n":7,"name":"x","seq":2}'
    post strict "$WORK/batch.ndjson"
    replay_letter '{}'
    expect_status 200
    api POST /v1/tables/strict/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"f"}]}'
    expect '.rows[0].row' '{"id":"f","n":7,"name":"y","seq":3}'
}

test_replay_that_lost_is_409_unless_forced()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":101,"seq":1}' '{"id":"x","seq":1}'
    post items "$WORK/batch.ndjson"
    local letter
    api GET /v1/dead-letters?table=items
    letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
    lines '{"id":"a","n":7,"seq":7}'
    post items "$WORK/batch.ndjson"
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '{"record":{"id":"a","n":1,"seq":1}}'
    expect_status 409
    expect .code '"superseded"'
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '{"record":{"id":"a","n":1,"seq":1},"force":true}'
    expect_status 200
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"a"}]}'
    expect '.rows[0].row.n' 1
}

test_strict_and_dry_run_write_nothing()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"seq":1}' '{"id":"b","n":-1,"seq":1}'
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' -H 'Prefer: handling=strict' --data-binary "@$WORK/batch.ndjson"
    expect_status 422
    expect '.errors[0].line' 2
    expect '.errors[0].pointer' '"/n"'
    api POST '/v1/tables/items/batches?dry_run=true' -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/batch.ndjson"
    expect_status 200
    expect .state '"dry_run"'
    expect .records.rejected 1
    api GET /v1/tables/items/rows
    expect .rows '[]'
    api GET /v1/dead-letters
    expect .dead_letters '[]'
}

test_idempotency()
{
    start_server
    create events "$TABLE_EVENTS"
    lines '{"id":"a","n":1}'
    api POST /v1/tables/events/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/batch.ndjson"
    expect_status 428
    post events "$WORK/batch.ndjson" -H 'Idempotency-Key: "k1"'
    expect_status 200
    local first
    first=$(jq -r .batch_id "$BODY")
    post events "$WORK/batch.ndjson" -H 'Idempotency-Key: k1'
    expect_status 200
    expect_header Idempotency-Replayed true
    expect .batch_id "\"$first\""
    lines '{"id":"b","n":1}'
    post events "$WORK/batch.ndjson" -H 'Idempotency-Key: k1'
    expect_status 422
    api GET /v1/tables/events/rows
    expect '.rows|length' 1
    kill_server
    start_server
    lines '{"id":"a","n":1}'
    post events "$WORK/batch.ndjson" -H 'Idempotency-Key: k1'
    expect .batch_id "\"$first\""
    api GET /v1/tables/events/rows
    expect '.rows|length' 1
}

test_formats_and_encodings()
{
    start_server
    create items "$TABLE_ITEMS"
    printf '\xef\xbb\xbfid,n,name,seq\r\nc1,1,"a ""quoted"", name",1\r\nc2,,"",1\r\n' >"$WORK/a.csv"
    post items "$WORK/a.csv"
    expect .records.applied 2
    printf '[{"id":"j1","seq":1},{"id":"j2","seq":1}]' >"$WORK/a.json"
    post items "$WORK/a.json"
    expect .records.applied 2
    lines '{"id":"g1","seq":1}'
    gzip -k "$WORK/batch.ndjson"
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' -H 'Prefer: wait=30' --data-binary "@$WORK/batch.ndjson.gz"
    expect_status 200
    lines '{"id":"z1","seq":1}'
    zstd -q "$WORK/batch.ndjson"
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: zstd' -H 'Prefer: wait=30' --data-binary "@$WORK/batch.ndjson.zst"
    expect_status 200
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: br' --data-binary "@$WORK/batch.ndjson"
    expect_status 415
    api POST /v1/tables/items/batches -H 'Content-Type: text/plain' --data-binary "@$WORK/batch.ndjson"
    expect_status 415
    api POST /v1/tables/items/lookup -H 'Content-Type: application/json' -d '{"keys":[{"id":"c1"},{"id":"c2"},{"id":"j1"},{"id":"g1"},{"id":"z1"}]}'
    expect '[.rows[].found]' '[true,true,true,true,true]'
    expect '.rows[0].row.name' '"a \"quoted\", name"'
    expect '.rows[1].row' '{"id":"c2","n":null,"name":"","seq":1}'
}

test_body_errors_name_the_place()
{
    start_server
    create items "$TABLE_ITEMS"
    printf '[{"id":"a","seq":1},{"id":]' >"$WORK/a.json"
    post items "$WORK/a.json"
    expect_status 400
    : >"$WORK/empty.ndjson"
    post items "$WORK/empty.ndjson"
    expect_status 400
    printf 'id,id,seq\na,b,1\n' >"$WORK/a.csv"
    post items "$WORK/a.csv"
    expect_status 400
    printf 'id,n,seq\na,1\nb,1,1\n' >"$WORK/b.csv"
    post items "$WORK/b.csv"
    expect_status 200
    expect '.errors[0]|[.line,.code]' '[2,"field_count"]'
    head -c 3000000 /dev/zero | gzip -9 >"$WORK/bomb.gz"
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' --data-binary "@$WORK/bomb.gz"
    expect_status 413
    printf '%0.s[' $(seq 1 100000) >"$WORK/deep.json"
    post items "$WORK/deep.json"
    expect_status 400
}

test_survives_kill_and_restart()
{
    start_server
    create items "$TABLE_ITEMS"
    lines '{"id":"a","n":1,"seq":1}'
    api POST /v1/tables/items/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/batch.ndjson"
    expect_status 202
    local batch
    batch=$(jq -r .batch_id "$BODY")
    kill_server
    start_server
    api GET "/v1/batches/$batch" -H 'Prefer: wait=30'
    expect .state '"indexed"'
    expect .records.applied 1
    stop_server
    "$SLUICE" fsck --data "$DATA" >"$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
}
