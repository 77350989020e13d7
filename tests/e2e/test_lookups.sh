# Member views and lookups: one atomic set of snapshots, read your writes, time travel.
# shellcheck shell=bash

define()
{
    create "$1" "$(cat "$here/../demo/tables/$1.json")"
}

seed()
{
    define members
    define prescriptions
    define eligibility
    printf '%s\n' '{"member_id":"M000000001","first_name":"Zoë","state":"TX","updated_at":"2025-01-01T00:00:00Z"}' >"$WORK/m.ndjson"
    post members "$WORK/m.ndjson"
    expect_status 200
    : >"$WORK/p.ndjson"
    for i in 1 2 3; do
        printf '{"prescription_id":"RX%d","member_id":"M000000001","ndc":"0000214338%d","quantity":30.5,"updated_at":"2025-01-0%dT00:00:00Z"}\n' $i $i $i >>"$WORK/p.ndjson"
    done
    post prescriptions "$WORK/p.ndjson"
    expect_status 200
}

test_member_view()
{
    start_server
    seed
    api GET /v1/members/M000000001
    expect_status 200
    expect .member_id '"M000000001"'
    expect .member.first_name '"Zoë"'
    expect '.prescriptions|length' 3
    expect .eligibility '[]'
    expect '.versions.members' 1
    local etag
    etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
    api GET /v1/members/M000000001 -H "If-None-Match: $etag"
    expect_status 304
    api GET '/v1/members/M000000001?include=eligibility'
    expect 'has("prescriptions")' false
    api GET /v1/members/M999999999
    expect_status 404
    api GET '/v1/members/M000000001?include=nonsense'
    expect_status 400
    api POST /v1/members/lookup -H 'Content-Type: application/json' -d '{"member_ids":["M000000001","M999999999"]}'
    expect '[.members[].found]' '[true,false]'
    expect '.members[0].prescriptions|length' 3
}

test_parts_are_paged()
{
    start_server
    seed
    api GET '/v1/members/M000000001?include=prescriptions&limit=2'
    expect '[.prescriptions[].prescription_id]' '["RX1","RX2"]'
    local token
    token=$(jq -r .next_page_tokens.prescriptions "$BODY")
    api GET "/v1/members/M000000001?limit=2&page_token=$token"
    expect '[.prescriptions[].prescription_id]' '["RX3"]'
    expect .next_page_tokens null
    api GET "/v1/members/M000000002?limit=2&page_token=$token"
    expect_status 400
}

test_read_your_writes_and_as_of()
{
    start_server
    seed
    local before
    before=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    printf '%s\n' '{"member_id":"M000000001","first_name":"Zoe","updated_at":"2025-02-01T00:00:00Z"}' >"$WORK/m.ndjson"
    wait_for clock_passed "$before"
    api POST /v1/tables/members/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/m.ndjson"
    local batch
    batch=$(jq -r .batch_id "$BODY")
    api GET "/v1/members/M000000001?after=$batch"
    expect_status 200
    expect .member.first_name '"Zoe"'
    expect .versions.members 2
    api GET "/v1/members/M000000001?timestamp=$before"
    expect_status 200
    expect .member.first_name '"Zoë"'
    api GET "/v1/tables/members/rows?version=1"
    expect '.rows[0].first_name' '"Zoë"'
    api GET "/v1/tables/members/rows?timestamp=$before"
    expect .version 1
    api GET /v1/tables/members/history
    expect '[.versions[].version]' '[2,1,0]'
}

# The commit's file time has milliseconds: let the next one be later than the moment noted.
clock_passed()
{
    [ "$(date -u +%s%3N)" -gt "$(date -u -d "$1" +%s%3N)" ]
}

test_scan_filters_pages_and_columns()
{
    start_server
    seed
    api GET '/v1/tables/prescriptions/rows?limit=2&columns=prescription_id,quantity'
    expect '.rows' '[{"prescription_id":"RX1","quantity":30.5},{"prescription_id":"RX2","quantity":30.5}]'
    local token
    token=$(jq -r .next_page_token "$BODY")
    api GET "/v1/tables/prescriptions/rows?limit=2&columns=prescription_id,quantity&page_token=$token"
    expect '[.rows[].prescription_id]' '["RX3"]'
    expect .next_page_token null
    api GET "/v1/tables/prescriptions/rows?limit=2&page_token=$token"
    expect_status 400
    api GET '/v1/tables/prescriptions/rows?filter=prescription_id:ge:RX2'
    expect '[.rows[].prescription_id]' '["RX2","RX3"]'
    api GET '/v1/tables/prescriptions/rows?filter=member_id:eq:M000000001'
    expect_status 400
    api POST /v1/tables/prescriptions/rows/query -H 'Content-Type: application/json' -d '{"filters":[{"column":"member_id","operator":"eq","value":"M000000001"},{"column":"prescription_id","operator":"in","value":["RX1","RX9"]}]}'
    expect_status 200
    expect '[.rows[].prescription_id]' '["RX1"]'
}

# ask FILTER EXPECTED: ids of the rows that a filter in the URL leaves, sorted
ask()
{
    api GET /v1/tables/places/rows -G --data-urlencode "filter=$1"
    expect_status 200
    expect '[.rows[].id] | sort' "$2"
}

# ask_by_body FILTERS EXPECTED
ask_by_body()
{
    api POST /v1/tables/places/rows/query -H 'Content-Type: application/json' -d "{\"filters\":$1${3:-}}"
    expect_status 200
    expect '[.rows[].id] | sort' "$2"
}

test_filters_with_several_values()
{
    start_server
    create places '{"schema":{"fields":[{"name":"state","type":"string","nullable":false},{"name":"id","type":"integer","nullable":false},
        {"name":"note","type":"string"}]},"key":["state","id"],"partition_by":["state"]}'
    printf '%s\n' '{"state":"TX","id":1,"note":"a,b"}' '{"state":"CA","id":2,"note":"c\\"}' '{"state":"NY","id":3,"note":"a"}' \
        '{"state":"TX","id":4}' >"$WORK/p.ndjson"
    post places "$WORK/p.ndjson"
    expect_status 200
    printf '%s\n' '{"_op":"delete","state":"TX","id":4}' '{"state":"CA","id":2,"note":"later"}' '{"state":"CA","id":5,"note":"c\\"}' >"$WORK/p.ndjson"
    post places "$WORK/p.ndjson"
    expect_status 200
    ask 'state:in:TX,CA' '[1,2,5]'
    api GET '/v1/tables/places/rows?version=1&filter=state:in:TX,CA'
    expect '[.rows[].id] | sort' '[1,2,4]'
    ask 'state:in:NY' '[3]'
    ask 'id:in:3,1,99' '[1,3]'
    ask 'note:in:a\,b' '[1]'
    ask 'note:in:a,b' '[3]'
    ask 'note:in:c\\,a' '[3,5]'
    ask 'note:eq:a,b' '[1]'
    ask_by_body '[{"column":"state","operator":"in","value":["TX","CA"]},{"column":"id","operator":"in","value":[1,2,4]}]' '[1,2]'
    ask_by_body '[{"column":"state","operator":"eq","value":"TX"},{"column":"id","operator":"in","value":[4]}]' '[]'
    ask_by_body '[{"column":"state","operator":"eq","value":"TX"},{"column":"id","operator":"in","value":[4]}]' '[4]' ',"version":1'
    ask_by_body '[{"column":"note","operator":"in","value":["a,b"]}]' '[1]'
    local bad
    for bad in 'state:in:a\x' 'id:in:1,x' 'state:in' "id:in:$(seq -s , 1001)"; do
        api GET '/v1/tables/places/rows' -G --data-urlencode "filter=$bad"
        expect_status 400
    done
    api POST /v1/tables/places/rows/query -H 'Content-Type: application/json' -d '{"filters":[{"column":"id","operator":"in","value":[]}]}'
    expect_status 400
}
