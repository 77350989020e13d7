# Changes of access that race each other.
# shellcheck shell=bash

# demote TOKEN NAME: prints the status
demote()
{
    curl -s -o "$WORK/demoted.$2" -w '%{http_code}' -X PUT -H "Authorization: Bearer $1" \
        -H 'Content-Type: application/json' -d '{"roles":[]}' "$URL/v1/principals/$2/roles" >"$WORK/status.$2"
}

test_two_administrators_cannot_demote_each_other()
{
    start_server
    local round other
    for round in 1 2 3 4 5 6; do
        api POST /v1/principals -H 'Content-Type: application/json' -d "{\"name\":\"a$round\",\"roles\":[{\"role\":\"admin\"}]}"
        expect_status 201
        api POST /v1/tokens -H 'Content-Type: application/json' -d "{\"principal\":\"a$round\"}"
        expect_status 201
        other=$(jq -r .token "$BODY")
        demote "$TOKEN" "a$round" &
        local first=$!
        demote "$other" admin &
        wait "$first" "$!"
        api GET /v1/principals
        [ "$STATUS" = 200 ] || TOKEN=$other api GET /v1/principals
        expect_status 200
        expect '[.principals[]|select(.roles[]?.role=="admin")]|length|.>0' true
        TOKEN=$other api PUT /v1/principals/admin/roles -H 'Content-Type: application/json' -d '{"roles":[{"role":"admin"}]}'
        api PUT "/v1/principals/a$round/roles" -H 'Content-Type: application/json' -d '{"roles":[]}'
        expect_status 200
    done
}
