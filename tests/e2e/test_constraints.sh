# Constraints of a table: every row meets them, whoever states them.
# shellcheck shell=bash

T='{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"age","type":"integer"},{"name":"st","type":"string"}]},"key":["id"]'


rows()
{
    api GET "/v1/tables/$1/rows"
    jq -c '[.rows[]|[.id,.age,.st]]|sort' "$BODY"
}

# Another engine's ALTER TABLE … ADD CONSTRAINT: set_property TABLE NAME VALUE
set_property()
{
    local log=$DATA/tables/$1/_delta_log metadata version
    metadata=$(cat "$log"/*.json | jq -c 'select(.metaData)' | tail -1 | jq -c --arg n "$2" --arg v "$3" '.metaData.configuration[$n]=$v')
    version=$(($(find "$log" -name '*.json' | wc -l)))
    {
        echo '{"commitInfo":{"operation":"ADD CONSTRAINT"}}'
        cat "$log"/*.json | jq -c 'select(.protocol)' | tail -1 | jq -c '.protocol.writerFeatures |= ((. // ["appendOnly","invariants"]) + ["checkConstraints"] | unique) | .protocol.minWriterVersion = 7'
        echo "$metadata"
    } >"$WORK/commit.json"
    mv "$WORK/commit.json" "$log/$(printf '%020d' "$version").json"
}

test_constraints_of_another_engine()
{
    start_server
    local merge
    for merge in deletion-vectors copy-on-write; do
        local table=t_${merge%%-*}
        create "$table" "$T,\"merge\":\"$merge\"}"
        send_lines "$table" '{"id":"a","age":30}'
        set_property "$table" delta.constraints.adult "age > 17 AND st IS NULL"
        send_lines "$table" '{"id":"b","age":40}
{"id":"c","age":3}
{"id":"a","age":1}
{"id":"d"}
{"_op":"patch","id":"b","age":2}
{"_op":"patch","id":"b","age":50}
{"_op":"insert","id":"e","age":17}
{"_op":"delete","id":"zz"}'
        expect .records.rejected_at_merge 5
        expect .records.applied 3
        local batch
        batch=$(jq -r .batch_id "$BODY")
        [ "$(rows "$table")" = '[["a",30,null],["b",50,null]]' ] || fail "$merge: $(rows "$table")"
        api GET "/v1/batches/$batch/errors"
        expect '[.errors[].code]|unique' '["constraint"]'
        expect '.errors[0].message' '"the row does not meet the table'"'"'s constraint adult: age > 17 AND st IS NULL"'
        api GET "/v1/dead-letters?table=$table"
        expect '.dead_letters|length' 5
    done
    # a start later nothing is different
    stop_server
    start_server
    send_lines t_copy '{"id":"x","age":1}'
    expect .records.rejected_at_merge 1
}

test_appends_meet_them_too()
{
    start_server
    create log '{"schema":{"fields":[{"name":"n","type":"long"}]},"merge":"append"}'
    send_lines log '{"n":1}'
    set_property log delta.constraints.positive 'n > 0'
    send_lines log '{"n":2}
{"n":0}
{"n":null}'
    expect .records.rejected_at_merge 2
    send_lines log '{"n":-1}'
    expect .records.rejected_at_merge 1
    api GET /v1/tables/log/rows
    expect '[.rows[].n]|sort' '[1,2]'
}

# One that we cannot evaluate: nothing is written, nothing is lost, and it is said why.
test_a_constraint_that_cannot_be_evaluated()
{
    start_server
    create t "$T}"
    send_lines t '{"id":"a","age":30}'
    set_property t delta.constraints.named "length(st) > 3"
    send_lines t '{"id":"b","age":1}'
    expect .state '"failed"'
    grep -q 'constraint named (length(st) > 3) cannot be evaluated: byte 1: a function' "$LOG" || fail "nobody says why"
    [ "$(rows t)" = '[["a",30,null]]' ] || fail "$(rows t)"
    set_property t delta.constraints.named "st is null or st <> ''"
    api GET '/v1/dead-letters?table=t'
    local letter
    letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{}'
    expect_status 200
    [ "$(rows t)" = '[["a",30,null],["b",1,null]]' ] || fail "$(rows t)"
}

test_constraints_of_the_definition()
{
    start_server
    create t "$T,\"constraints\":[{\"name\":\"adult\",\"check\":\"age > 17\"}]}"
    expect '.definition.constraints' '[{"name":"adult","check":"age > 17"}]'
    local first=$DATA/tables/t/_delta_log/00000000000000000000.json
    [ "$(jq -r 'select(.metaData).metaData.configuration["delta.constraints.adult"]' "$first")" = 'age > 17' ] || fail "not in the log"
    jq -r 'select(.protocol).protocol.writerFeatures[]' "$first" | grep -qx checkConstraints || fail "not in the protocol"
    send_lines t '{"id":"a","age":30,"st":"TX"}
{"id":"b","age":3}'
    expect .records.rejected_at_merge 1
    local etag
    change()
    {
        api GET /v1/tables/t
        etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
        api PUT /v1/tables/t -H 'Content-Type: application/json' -H "If-Match: $etag" --data-binary "$T,\"constraints\":$1}"
    }
    # rows that are there must meet a new one
    change '[{"name":"adult","check":"age > 17"},{"name":"old","check":"age >= 31"}]'
    expect_status 409
    expect .detail '"table '"'t'"': constraint '"'old'"': 1 of the rows that are there do not meet it (age >= 31); correct or delete them first"'
    change '[{"name":"adult","check":"age > 17"},{"name":"placed","check":"st is not null"}]'
    expect_status 200
    send_lines t '{"id":"c","age":30}'
    expect .records.rejected_at_merge 1
    # another engine's stays, ours goes when the definition has it no more
    set_property t delta.constraints.theirs "age < 100"
    change '[{"name":"placed","check":"st is not null"}]'
    expect_status 200
    send_lines t '{"id":"d","age":3,"st":"TX"}
{"id":"e","age":300,"st":"TX"}'
    expect .records.rejected_at_merge 1
    [ "$(rows t)" = '[["a",30,"TX"],["d",3,"TX"]]' ] || fail "$(rows t)"
    local check
    for check in '[{"name":"x","check":"nope > 1"}]' '[{"name":"X","check":"age > 1"}]' '[{"name":"x"}]' '[{"name":"x","check":"age > 1"},{"name":"x","check":"age > 2"}]' '{}' '[{"name":"x","check":"length(st) > 1"}]'; do
        change "$check"
        expect_status 422
    done
    expect .detail '"/constraints/0/check: byte 1: a function"'
    stop_server
    "$SLUICE" fsck --data "$DATA" >/dev/null || fail "fsck"
}
