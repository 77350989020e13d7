# Secrets go in and never come out; circuit breakers are seen and reset by who may.
# shellcheck shell=bash

CANARY=canary-5e0b7f

# A principal with a role, and a token for it in $USER_TOKEN.
user()
{
    api POST /v1/principals -H 'Content-Type: application/json' \
        -d "{\"name\":\"$1\",\"roles\":[{\"role\":\"$1\"}]}"
    expect_status 201
    api POST /v1/tokens -H 'Content-Type: application/json' -d "{\"principal\":\"$1\"}"
    expect_status 201
    USER_TOKEN=$(jq -r .token "$BODY")
}

as()
{
    local saved=$TOKEN
    TOKEN=$1
    shift
    "$@"
    TOKEN=$saved
}

put_secret()
{
    api PUT "/v1/secrets/$1" -H 'Content-Type: application/json' -d "{\"value\":\"$2\"}"
    ! grep -q "$CANARY" "$BODY" "$HEADERS" || fail "the answer shows the value"
}

# The value is nowhere a person or a backup could read it.
expect_nowhere()
{
    ! grep -rqa "$CANARY" "$DATA" || fail "on disk: $(grep -rla "$CANARY" "$DATA")"
    ! grep -qa "$CANARY" "$LOG" || fail "in the log"
}

test_secret_comes_in_and_stays()
{
    start_server
    put_secret api "$CANARY-1"
    expect_status 201
    expect .name '"api"'
    expect .version 1
    expect 'keys' '["changed_at","created_at","name","version"]'
    put_secret api "$CANARY-2"
    expect_status 200
    expect .version 2
    put_secret hook "$CANARY-3"
    expect_status 201
    api GET /v1/secrets
    expect_status 200
    expect '[.secrets[] | [.name, .version]]' '[["api",2],["hook",1]]'
    ! grep -q "$CANARY" "$BODY" || fail "the list shows a value"
    api GET '/v1/secrets?limit=1'
    expect '[.secrets[].name]' '["api"]'
    api GET "/v1/secrets?limit=1&page_token=$(jq -r .next_page_token "$BODY")"
    expect '[.secrets[].name]' '["hook"]'
    api GET /v1/secrets/api
    expect_status 405
    kill_server
    start_server
    api GET /v1/secrets
    expect '[.secrets[] | [.name, .version]]' '[["api",2],["hook",1]]'
    api DELETE /v1/secrets/api
    expect_status 204
    api DELETE /v1/secrets/api
    expect_status 404
    api GET /metrics
    stop_server
    expect_nowhere
    grep -q '"secret.write"' "$DATA"/audit/* || fail "the change was not audited"
    grep -q '"secret.delete"' "$DATA"/audit/* || fail "the deletion was not audited"
}

test_secret_rules()
{
    start_server
    local name body
    for name in a.b a%20b 'a%2Fb' "$(printf 'n%.0s' {1..101})"; do
        put_secret "$name" "$CANARY"
        [ "$STATUS" = 400 ] || [ "$STATUS" = 404 ] || fail "name $name: $STATUS"
    done
    for body in '{}' '{"value":""}' '{"value":7}' '{"value":null}' '{"value":"a\u0000b"}' \
        "{\"value\":\"$CANARY\",\"more\":1}" "[\"$CANARY\"]" "\"$CANARY\"" "$CANARY" ''; do
        api PUT /v1/secrets/x -H 'Content-Type: application/json' -d "$body"
        expect_status 400
        ! grep -q "$CANARY" "$BODY" || fail "the problem shows the value"
    done
    head -c 16385 /dev/zero | tr '\0' v | jq -Rs '{value: .}' >"$WORK/large"
    api PUT /v1/secrets/x -H 'Content-Type: application/json' --data-binary "@$WORK/large"
    expect_status 413
    head -c 16384 /dev/zero | tr '\0' v | jq -Rs '{value: .}' >"$WORK/large"
    api PUT /v1/secrets/x -H 'Content-Type: application/json' --data-binary "@$WORK/large"
    expect_status 201
    stop_server
    expect_nowhere
}

test_secret_permissions()
{
    local role
    start_server
    for role in engineer operator auditor partner analyst; do
        user "$role"
        as "$USER_TOKEN" put_secret "of-$role" "$CANARY"
        case $role in
        engineer) expect_status 201 ;;
        *) expect_status 403 ;;
        esac
        as "$USER_TOKEN" api GET /v1/secrets
        case $role in
        engineer | auditor) expect_status 200 ;;
        *) expect_status 403 ;;
        esac
        as "$USER_TOKEN" api DELETE /v1/secrets/of-engineer
        case $role in
        engineer) expect_status 204 ;;
        *) expect_status 403 ;;
        esac
        as "$USER_TOKEN" api GET /v1/breakers
        case $role in
        engineer | operator | auditor) expect_status 200 ;;
        *) expect_status 403 ;;
        esac
        as "$USER_TOKEN" api POST /v1/breakers/https:a.example:443/reset
        case $role in
        engineer | operator) expect_status 404 ;;
        *) expect_status 403 ;;
        esac
    done
    # a role for one table says nothing about what belongs to no table
    api POST /v1/principals -H 'Content-Type: application/json' \
        -d '{"name":"narrow","roles":[{"role":"engineer","table":"t"}]}'
    expect_status 201
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"narrow"}'
    USER_TOKEN=$(jq -r .token "$BODY")
    as "$USER_TOKEN" put_secret narrow "$CANARY"
    expect_status 403
    stop_server
    expect_nowhere
}

test_breakers_start_empty()
{
    start_server
    api GET /v1/breakers
    expect_status 200
    expect .breakers '[]'
    expect .next_page_token null
    api POST /v1/breakers/https:a.example:443/reset
    expect_status 404
    api GET /metrics
    grep -q '^sluice_breakers_open 0$' "$BODY" || fail "no metric"
}

test_outgoing_allow_is_checked_at_start()
{
    ! "$SLUICE" serve --data "$DATA" --listen 127.0.0.1:0 --outgoing-allow '10.0.0.0/8, localhost' \
        2>>"$LOG" || fail "started"
    grep -q "outgoing-allow: entry 'localhost'" "$LOG" || fail "does not say what is wrong"
    start_server --outgoing-allow '10.0.0.0/8, [::1]:9000'
}
