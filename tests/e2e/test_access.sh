# Access: default deny, roles per table, partners see their own, revocation at once.
# shellcheck shell=bash

T='{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'

# A principal with roles, and a token for it in $USER_TOKEN.
user()
{
    api POST /v1/principals -H 'Content-Type: application/json' -d "{\"name\":\"$1\",\"roles\":$2}"
    expect_status 201
    api POST /v1/tokens -H 'Content-Type: application/json' -d "{\"principal\":\"$1\"}"
    expect_status 201
    USER_TOKEN=$(jq -r .token "$BODY")
    USER_TOKEN_ID=$(jq -r .token_id "$BODY")
}

as()
{
    local saved=$TOKEN
    TOKEN=$1
    shift
    "$@"
    TOKEN=$saved
}

test_no_token_wrong_token()
{
    start_server
    STATUS=$(curl -s -o "$BODY" -D "$HEADERS" -w '%{http_code}' "$URL/v1/tables")
    expect_status 401
    expect_header WWW-Authenticate Bearer
    expect_header Content-Type 'application/problem\+json'
    as slc_nonsense api GET /v1/tables
    expect_status 401
    local last=x
    [ "${TOKEN: -1}" != x ] || last=y
    as "${TOKEN%?}$last" api GET /v1/tables
    expect_status 401
    api GET /v1/nothing
    expect_status 404
    api PATCH /v1/tables
    expect_status 405
    expect_header Allow GET
}

test_refused_before_the_body()
{
    start_server
    head -c 50000000 /dev/zero >"$WORK/big"
    STATUS=$(curl -s -o "$BODY" -w '%{http_code}' -H 'Content-Type: application/x-ndjson' -H 'Expect: 100-continue' \
        --data-binary "@$WORK/big" "$URL/v1/tables/t/batches")
    expect_status 401
}

test_partner_scope_and_revocation()
{
    start_server
    create mine "$T"
    create other "$T"
    user acme '[{"role":"partner","table":"mine"}]'
    printf '{"id":"a"}\n' >"$WORK/b.ndjson"
    as "$USER_TOKEN" api POST /v1/tables/mine/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/b.ndjson"
    expect_status 202
    local own
    own=$(jq -r .batch_id "$BODY")
    as "$USER_TOKEN" api POST /v1/tables/other/batches -H 'Content-Type: application/x-ndjson' --data-binary "@$WORK/b.ndjson"
    expect_status 403
    as "$USER_TOKEN" api GET "/v1/batches/$own"
    expect_status 200
    post mine "$WORK/b.ndjson"
    local foreign
    foreign=$(jq -r .batch_id "$BODY")
    as "$USER_TOKEN" api GET "/v1/batches/$foreign"
    expect_status 404
    as "$USER_TOKEN" api GET /v1/tables/mine/rows
    expect_status 403
    as "$USER_TOKEN" api GET /v1/principals
    expect_status 403
    api GET '/v1/access/explain?principal=acme&action=batch.post&resource=other'
    expect .allowed false
    api DELETE "/v1/tokens/$USER_TOKEN_ID"
    expect_status 204
    as "$USER_TOKEN" api GET "/v1/batches/$own"
    expect_status 401
}

test_last_administrator_stays()
{
    start_server
    api GET /v1/principals
    expect '[.principals[].name]' '["admin"]'
    api PUT /v1/principals/admin/roles -H 'Content-Type: application/json' -d '{"roles":[{"role":"analyst"}]}'
    expect_status 409
}

test_last_token_stays()
{
    start_server
    api GET /v1/tokens
    local id
    id=$(jq -r '.tokens[0].token_id' "$BODY")
    api DELETE "/v1/tokens/$id"
    expect_status 409
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"admin"}'
    expect_status 201
    api DELETE "/v1/tokens/$id"
    expect_status 204
    api GET /v1/tokens
    expect_status 401
}

test_token_text_is_nowhere_on_disk()
{
    start_server
    user acme '[{"role":"partner"}]'
    stop_server
    if grep -rqF "$USER_TOKEN" "$DATA" "$LOG"; then
        fail "the token is on disk"
    fi
}

test_wrong_tokens_are_counted_in_headers()
{
    start_server --auth-failures-per-minute 2
    as slc_nonsense api GET /v1/tables
    expect_status 401
    expect_header RateLimit-Policy '^"auth-failures";q=2;w=60$'
    expect_header RateLimit '^"auth-failures";r=1;t=60$'
    as slc_nonsense api GET /v1/tables
    expect_header RateLimit '^"auth-failures";r=0;t=(60|59)$'
    as slc_nonsense api GET /v1/tables
    expect_status 429
    expect .code '"rate_limited"'
    expect_header Retry-After '^(60|59)$'
    expect_header RateLimit '^"auth-failures";r=0;t=(60|59)$'
    api GET /v1/tables
    expect_status 200
    ! grep -qi ^ratelimit "$HEADERS" || fail "nothing limits this request"
}

test_requests_of_a_principal_have_a_budget()
{
    start_server --requests-per-minute 6
    create t "$T"
    expect_header RateLimit-Policy '^"requests";q=6;w=60$'
    expect_header RateLimit '^"requests";r=5;t=60$'
    user acme '[{"role":"partner","table":"t"}]'
    expect_header RateLimit '^"requests";r=3;t='
    as "$USER_TOKEN" api GET /v1/principals
    expect_status 403
    expect_header RateLimit '^"requests";r=5;t='
    for _ in 1 2 3 4 5; do as "$USER_TOKEN" api GET /v1/batches/nothing; done
    expect_status 404
    expect_header RateLimit '^"requests";r=0;t='
    # refused by the head alone, whatever follows
    head -c 50000000 /dev/zero >"$WORK/big"
    for _ in 1 2 3; do
        as "$USER_TOKEN" api POST /v1/tables/t/batches -H 'Content-Type: application/x-ndjson' -H 'Expect: 100-continue' \
            --data-binary "@$WORK/big"
        expect_status 429
        expect .code '"rate_limited"'
        expect .retryable true
        expect_header Retry-After '^[1-9][0-9]*$'
        [ "$(logged bytes_in)" = 0 ] || fail "the body was read"
    done
    [ "$(grep -aoh 'over the budget of requests' "$DATA"/audit/* | wc -l)" = 1 ] ||
        fail "the trail has not one record of the refusals"
    api GET /metrics
    expect_status 200
    grep -q '^sluice_gate_refusals_total{reason="over_budget"} 3$' "$BODY" || fail "the refusals are not counted"
    curl -sS -o /dev/null -w '%{http_code}' "$URL/readyz" | grep -q 200 || fail "health has no budget"
}

# The hash the audit trail has for the subject of the newest record of an event.
audited_subject()
{
    grep -aoE "\"event\":\"$1\"[^}]*\"subjects\":\[\"[0-9a-f]{32}\"" "$DATA"/audit/* | tail -1 | grep -oE '[0-9a-f]{32}"$' | tr -d '"'
}


test_the_log_names_members_by_their_keyed_hash()
{
    start_server
    create members '{"schema":{"fields":[{"name":"member_id","type":"string","nullable":false,"phi":true},{"name":"state","type":"string"}]},
        "key":["member_id"],"lookup":[{"entity":"member","column":"member_id","as":"member"}]}'
    printf '{"member_id":"CANARY/7 ü","state":"TX"}\n' >"$WORK/m.ndjson"
    post members "$WORK/m.ndjson"
    api GET /v1/members/CANARY%2F7%20%C3%BC
    expect_status 200
    local hash
    hash=$(logged subject)
    [[ $hash =~ ^[0-9a-f]{32}$ ]] || fail "the log line has the subject '$hash'"
    [ "$hash" = "$(audited_subject member.read)" ] || fail "log and audit trail hash in two ways"
    # whoever is not let in leaves the same name behind
    user nosy '[{"role":"partner","table":"members"}]'
    as "$USER_TOKEN" api GET /v1/members/CANARY%2F7%20%C3%BC
    expect_status 403
    [ "$(logged subject)" = "$hash" ] || fail "403: the log line has the subject '$(logged subject)'"
    [ "$hash" = "$(audited_subject access.denied)" ] || fail "the trail does not say whom the refused request named"
    STATUS=$(curl -sS -o "$BODY" -D "$HEADERS" -w '%{http_code}' "$URL/v1/members/CANARY%2F7%20%C3%BC")
    expect_status 401
    [ "$(logged subject)" = "$hash" ] || fail "401: the log line has the subject '$(logged subject)'"
    # an identifier in a filter is refused, and who sends one nevertheless is found
    api GET '/v1/tables/members/rows?filter=member_id:eq:CANARY/7%20%C3%BC'
    expect_status 400
    [ "$(logged subject)" = "$hash" ] || fail "filter: the log line has the subject '$(logged subject)'"
    api GET '/v1/tables/members/rows?filter=state:eq:TX'
    [ "$(logged subject)" = null ] || fail "a state is no person"
    stop_server
    ! grep -aqi canary "$LOG" "$DATA"/audit/* || fail "the identifier itself is in the log or the audit trail"
}
