# Numbers keep every digit on the way in and out: 19 digits are more than a double holds.
# shellcheck shell=bash

AMOUNT=12345678901234567.89
NEAR=12345678901234567.88
LONG=98765432109876543210987654321098765432

TABLE_PAYMENTS='{"schema":{"fields":[
  {"name":"amount","type":"decimal(19,2)","nullable":false,"maximum":99999999999999999.98},
  {"name":"count","type":"decimal(38,0)","maximum":98765432109876543210987654321098765432},
  {"name":"id","type":"string","nullable":false},
  {"name":"n","type":"integer","maximum":100}]},
  "key":["amount"]}'

# The text itself: jq would round the numbers.
expect_text()
{
    grep -qF -- "$1" "${2:-$BODY}" || fail "expected $1 in the answer"
}

seed()
{
    start_server
    create payments "$TABLE_PAYMENTS"
    printf '%s\n' "{\"amount\":$AMOUNT,\"count\":$LONG,\"id\":\"a\",\"n\":1}" \
        "{\"amount\":$NEAR,\"count\":1,\"id\":\"b\",\"n\":1}" \
        "{\"amount\":7,\"id\":\"c\",\"n\":101}" >"$WORK/p.ndjson"
    post payments "$WORK/p.ndjson"
    expect_status 200
    expect .records.applied 2
}

# ask PATH BODY
ask()
{
    api POST "$1" -H 'Content-Type: application/json' --data-binary "$2"
}

test_bounds_of_a_definition()
{
    seed
    api GET /v1/tables/payments
    expect_text '"maximum":"99999999999999999.98"'
    expect_text "\"maximum\":\"$LONG\""
    printf '%s\n' '{"amount":99999999999999999.98,"id":"max"}' '{"amount":99999999999999999.99,"id":"over"}' \
        '{"amount":1,"count":98765432109876543210987654321098765433,"id":"over"}' >"$WORK/p.ndjson"
    post payments "$WORK/p.ndjson"
    expect .records.accepted 1
    expect '[.errors[]|[.line,.code]]' '[[2,"range"],[3,"range"]]'
}

test_keys_of_a_lookup()
{
    seed
    ask /v1/tables/payments/lookup "{\"keys\":[ {\"amount\" : $AMOUNT}, {\"\\u0061mount\":$NEAR},
        {\"amount\":12345678901234567.87},{\"amount\":\"$AMOUNT\"}]}"
    expect_status 200
    expect '[.rows[]|[.found,.row.id]]' '[[true,"a"],[true,"b"],[false,null],[true,"a"]]'
    expect_text "{\"key\":{\"amount\" : $AMOUNT},\"found\":true,\"row\":{\"amount\":$AMOUNT,\"count\":$LONG,"
    expect_text "{\"key\":{\"amount\":12345678901234567.87},\"found\":false,\"row\":null}"
}

test_values_of_a_filter()
{
    seed
    ask /v1/tables/payments/rows/query \
        "{\"filters\":[{\"column\":\"amount\",\"operator\":\"eq\",\"value\":$AMOUNT}]}"
    expect '[.rows[].id]' '["a"]'
    ask /v1/tables/payments/rows/query \
        "{\"filters\":[{\"column\":\"amount\",\"operator\":\"in\",\"value\":[1, $NEAR ]}]}"
    expect '[.rows[].id]' '["b"]'
    ask /v1/tables/payments/rows/query \
        "{\"filters\":[{\"column\":\"count\",\"operator\":\"eq\",\"value\":$LONG}]}"
    expect '[.rows[].id]' '["a"]'
    for filters in '"amount"' '{"column":"id"}' 7; do
        ask /v1/tables/payments/rows/query "{\"filters\":$filters}"
        expect_status 400
    done
}

test_a_page_token_belongs_to_its_filter()
{
    seed
    local filter='{"column":"amount","operator":"le","value":12345678901234567.89}' token
    ask /v1/tables/payments/rows/query "{\"limit\":1,\"filters\":[$filter]}"
    token=$(jq -r .next_page_token "$BODY")
    ask /v1/tables/payments/rows/query "{\"limit\":1,\"filters\":[$filter],\"page_token\":\"$token\"}"
    expect_status 200
    ask /v1/tables/payments/rows/query "{\"limit\":1,\"filters\":[${filter/.89/.90}],\"page_token\":\"$token\"}"
    expect_status 400
}

test_a_corrected_record()
{
    seed
    local letter
    api GET /v1/dead-letters?table=payments
    letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' \
        --data-binary "{\"force\": false, \"record\": {
            \"amount\": 12345678901234567.85,
            \"count\": $LONG, \"id\": \"c\", \"n\": 100 } }"
    expect_status 200
    expect .records.applied 1
    ask /v1/tables/payments/lookup '{"keys":[{"amount":"12345678901234567.85"}]}'
    expect '.rows[0].row.id' '"c"'
    expect_text "\"count\":$LONG"
}

test_a_replay_is_one_object()
{
    seed
    local letter
    api GET /v1/dead-letters?table=payments
    letter=$(jq -r '.dead_letters[0].dead_letter_id' "$BODY")
    local record='{"amount":1,"id":"c","n":1}'
    for body in '[]' 'null' '{' '{}x' "{\"record\":$record" "{\"record\":$record}}" "{\"record\":$record,}" \
        "{\"record\":$record x}" "{\"record\":[$record]}" "{\"record\":$record,\"record\":$record}" \
        "{\"records\":[$record]}" "{\"record\":$record,\"forced\":true}" "{\"record\":$record,\"force\":1}" \
        "{\"force\":false,\"force\":true,\"record\":$record}" '{"record":null}' '{"record":{"amount":1,"id":"c"}]}' \
        '{"record":{"amount":1,"id":"c"' '{"record":{"amount":}}' '{"record":{"amount":1 "id":"c"}}'; do
        ask "/v1/dead-letters/$letter/replay" "$body"
        [ "$STATUS" = 400 ] || fail "$body was answered with $STATUS"
    done
    api POST "/v1/dead-letters/$letter/replay" -H 'Content-Type: application/json' -H 'Prefer: wait=30' \
        --data-binary "{\"\\u0072ecord\":$record}"
    expect_status 200
}

test_rows_on_the_command_line()
{
    seed
    SLUICE_TOKEN=$TOKEN "$SLUICE" table rows payments --url "$URL" >"$WORK/rows" || fail "table rows: $?"
    expect_text "{\"amount\":$AMOUNT,\"count\":$LONG,\"id\":\"a\",\"n\":1}" "$WORK/rows"
    expect_text "{\"amount\":$NEAR,\"count\":1,\"id\":\"b\",\"n\":1}" "$WORK/rows"
}

test_values_of_a_job()
{
    seed
    local job='{"name":"few","tasks":[{"task_key":"t","type":"check","check":{"table":"payments","expectations":[
        {"type":"range","column":"amount","action":"fail","maximum":VALUE}]}}]}'
    ask /v1/jobs "${job/VALUE/$NEAR}" # a number would lose its last digit
    expect_status 400
    expect '.detail|startswith("the number at byte 168 has more digits")' true
    ask /v1/jobs "${job/VALUE/\"$NEAR\"}"
    expect_status 201
    api POST "/v1/jobs/$(jq .job_id "$BODY")/runs" -H 'Prefer: wait=10'
    expect '.error.message|contains("is not met: 1 of 2")' true
    ask /v1/jobs "${job/VALUE/\"$AMOUNT\"}"
    api POST "/v1/jobs/$(jq .job_id "$BODY")/runs" -H 'Prefer: wait=10'
    expect .result '"SUCCESS"'
    stop_server
}
