# The contract and the server agree: what the contract names is served, what is
# answered is named in the contract, and both are what the build was made of.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Lines "METHOD PATH OPERATION SECURED HAS_BODY", parameters filled with their examples.
operations()
{
    jq -r '
        def resolve($root): if ."$ref" then . as $r | $root | getpath($r."$ref" | ltrimstr("#/") | split("/")) else . end;
        . as $root | .paths | to_entries[] | .key as $path | .value as $item
        | $item | to_entries[] | select(.key != "parameters")
        | .key as $method | .value as $operation
        | ([($item.parameters // [])[], ($operation.parameters // [])[] | resolve($root) | select(.in == "path")]) as $parameters
        | (reduce $parameters[] as $p ($path; sub("\\{" + $p.name + "\\}"; $p.example | tostring))) as $filled
        | ([($operation.parameters // [])[] | resolve($root) | select(.in == "query" and .required) | .name + "=" + (.example | tostring)] | join("&")) as $query
        | [($method | ascii_upcase), $filled + (if $query != "" then "?" + $query else "" end), $operation.operationId,
           (if $operation.security == [] then "public" else "secured" end),
           (if $operation.requestBody then "body" else "empty" end)] | join(" ")' "$1"
}

# documented OPERATION STATUS: is the status among the operation's answers?
documented()
{
    jq -e --arg id "$1" --arg status "$2" '
        [.paths[][] | objects | select(.operationId? == $id) | .responses | keys[]] | index($status) != null' \
        "$WORK/openapi.json" >/dev/null
}

test_contract_is_served_as_it_was_written()
{
    start_server
    curl -sS "$URL/openapi.yaml" | cmp - "$here/../../openapi/openapi.yaml" || fail "another openapi.yaml is served"
    curl -sS "$URL/openapi.json" >"$WORK/openapi.json"
    [ "$(jq -r .openapi "$WORK/openapi.json")" = 3.1.0 ] || fail "openapi.json is not 3.1"
    curl -sS -D "$HEADERS" "$URL/docs" >"$WORK/docs.html"
    expect_header Content-Type '^text/html; charset=utf-8$'
    if grep -Eiq '<script|src=|href="https?:|@import|url\(' "$WORK/docs.html"; then
        fail "the page downloads something"
    fi
    operations "$WORK/openapi.json" | while read -r _ _ id _; do
        grep -q "id=\"$id\"" "$WORK/docs.html" || fail "the page lacks $id"
    done
    local etag
    etag=$(grep -i '^etag:' "$HEADERS" | tr -d '\r' | cut -d' ' -f2)
    [ "$(curl -sS -o /dev/null -w '%{http_code}' -H "If-None-Match: $etag" "$URL/docs")" = 304 ] || fail "no 304"
    stop_server
}

test_every_operation_is_served_and_guarded()
{
    start_server
    curl -sS "$URL/openapi.json" >"$WORK/openapi.json"
    operations "$WORK/openapi.json" >"$WORK/operations"
    [ "$(wc -l <"$WORK/operations")" -ge 46 ] || fail "the contract has shrunk"
    local method path id secured body status
    while read -r method path id secured body; do
        status=$(curl -sS -o "$BODY" -w '%{http_code}' -X "$method" "$URL$path")
        if [ "$secured" = secured ]; then
            [ "$status" = 401 ] || fail "$id without a token: $status"
        else
            [ "$status" = 200 ] || fail "$id is public, yet: $status"
            continue
        fi
        if [ "$body" = body ]; then
            status=$(curl -sS -o "$BODY" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $TOKEN" \
                -H 'Content-Type: application/json' --data-binary '{"no":"such member"}' "$URL$path")
        else
            status=$(curl -sS -o "$BODY" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $TOKEN" "$URL$path")
        fi
        documented "$id" "$status" || fail "$id answers $status, which the contract does not name: $(head -c 300 "$BODY")"
        case $status in
        404) jq -e '.detail | test("no such path") | not' "$BODY" >/dev/null || fail "$id is not routed" ;;
        405 | 5??) fail "$id: $status $(head -c 300 "$BODY")" ;;
        esac
        if [ "$status" -ge 400 ]; then
            jq -e --arg id "$id" '.type and .title and .status and .code and .request_id' "$BODY" >/dev/null ||
                fail "$id: not a problem: $(head -c 300 "$BODY")"
        fi
    done <"$WORK/operations"
    stop_server
}

test_every_problem_code_is_explained()
{
    start_server
    curl -sS "$URL/docs" >"$WORK/docs.html"
    local code
    for path in /nowhere '/v1/tables?x=1' /v1/tables/absent; do
        api GET "$path"
        code=$(jq -r .code "$BODY")
        [ "$(jq -r .type "$BODY")" = "/docs#problem-$code" ] || fail "type of $code"
        grep -q "id=\"problem-$code\"" "$WORK/docs.html" || fail "$code is not explained"
    done
    # and all that the sources name
    for code in $(grep -rhoE 'problem_(answer|err_as|items)\(exchange, [0-9a-z_.>()-]+, "[a-z_]+"' "$here/../../handlers" "$here/../../server" |
        grep -oE '"[a-z_]+"' | tr -d '"' | sort -u); do
        grep -q "id=\"problem-$code\"" "$WORK/docs.html" || fail "$code is not explained"
    done
    stop_server
}

test_metrics_pass_promtool()
{
    start_server
    api GET /v1/tables
    api GET /metrics
    expect_status 200
    expect_header Content-Type '^text/plain; version=0\.0\.4'
    grep -q '^sluice_http_requests_total{operation="table_list",status="2xx"} 1$' "$BODY" || fail "the request was not counted"
    if command -v promtool >/dev/null; then
        promtool check metrics <"$BODY" || fail "promtool"
    fi
    stop_server
}

# Faults of the JSON in $BODY against the schema of an answer, one a line: types, required
# and unknown members, values of enumerations, all the way down.
read -r -d '' CONFORMS <<'JQ' || true
def follow($root): if type == "object" and ."$ref" then (."$ref" | ltrimstr("#/") | split("/")) as $path | $root | getpath($path) | follow($root) else . end;
def kinds: if type == "array" then . else [.] end;
def is($kind): type as $type
    | if $kind == "integer" then $type == "number" and . == floor
      else $kind == $type end;
def faults($schema; $root; $at):
    ($schema | follow($root)) as $s | . as $value
    | (if $s.type and ([$s.type | kinds[] | . as $kind | $value | is($kind)] | any | not)
       then "\($at): \($value | type) is not \($s.type)" else empty end),
      (if $s.enum and ($s.enum | index($value)) == null then "\($at): not in the enumeration" else empty end),
      (if type == "object" and ($s.properties or $s.required or $s.additionalProperties) then
          (($s.required // [])[] | select(. as $name | $value | has($name) | not) | "\($at)/\(.) is missing"),
          (to_entries[] | .key as $key | .value
           | if $s.properties[$key] then faults($s.properties[$key]; $root; "\($at)/\($key)")
             elif ($s.additionalProperties | type) == "object" then faults($s.additionalProperties; $root; "\($at)/\($key)")
             elif $s.additionalProperties == true then empty
             else "\($at)/\($key) is not in the contract" end)
       else empty end),
      (if type == "array" and $s.items then (to_entries[] | .key as $i | .value | faults($s.items; $root; "\($at)/\($i)")) else empty end);
$contract[0] as $root
| ($root.paths[][] | objects | select(.operationId? == $id) | .responses[$status] | follow($root)
   | (.content["application/json"] // .content["application/problem+json"]).schema) as $schema
| faults($schema; $root; "")
JQ

# call OPERATION STATUS METHOD PATH [curl…]: the status and the shape of the answer are the contract's.
call()
{
    local id=$1 status=$2 found
    shift 2
    api "$@" -H 'Content-Type: application/json'
    expect_status "$status"
    documented "$id" "$status" || fail "$id: $status is not in the contract"
    [ -s "$BODY" ] || return 0
    found=$(jq -r --slurpfile contract "$WORK/openapi.json" --arg id "$id" --arg status "$status" "$CONFORMS" "$BODY")
    [ -z "$found" ] || fail "$id $status: $found"
}

# The same for jobs, runs and webhooks; table `m` is there.
call_jobs()
{
    local job run definition
    definition='{"name":"j","description":"d","parameters":[{"name":"day","default":"x"}],"tags":{"team":"rx"},
        "tasks":[{"task_key":"a","type":"http_request","http_request":{"url":"http://127.0.0.1:1/"},"max_retries":-1,"min_retry_interval_millis":86400000},
                 {"task_key":"c","type":"condition","condition":{"op":"EQUAL_TO","left":"{{job.parameters.day}}","right":"x"},"depends_on":[{"task_key":"a"}]},
                 {"task_key":"h","type":"http_request","http_request":{"url":"https://example.org/","body":{"run":"{{run.id}}"}},"depends_on":[{"task_key":"c","outcome":"true"}]},
                 {"task_key":"f","type":"for_each","for_each":{"inputs":[1,2],"task":{"task_key":"e","type":"optimize","optimize":{"table":"m"}}}}],
        "schedule":{"quartz_cron_expression":"0 0 3 * * ?","timezone_id":"Europe/Berlin"},
        "triggers":[{"table_update":{"tables":["m"]}}],"health":{"rules":[{"metric":"RUN_DURATION_SECONDS","value":60}]},
        "webhook_notifications":{"on_failure":[{"url":"https://example.org/hook"}]}}'
    call job_create 201 POST /v1/jobs --data-binary "$definition"
    job=$(jq -r .job_id "$BODY")
    call job_create 422 POST /v1/jobs --data-binary '{"name":"j"}'
    call job_create 400 POST /v1/jobs --data-binary '{'
    call job_list 200 GET /v1/jobs
    call job_get 200 GET "/v1/jobs/$job"
    call job_get 404 GET /v1/jobs/999
    call job_put 428 PUT "/v1/jobs/$job" --data-binary "$definition"
    call job_put 412 PUT "/v1/jobs/$job" -H 'If-Match: "0"' --data-binary "$definition"
    call job_put 200 PUT "/v1/jobs/$job" -H 'If-Match: *' --data-binary "$definition"
    call job_put 422 PUT "/v1/jobs/$job" -H 'If-Match: *' --data-binary '{}'
    call job_patch 200 PATCH "/v1/jobs/$job" -H 'If-Match: *' --data-binary '{"description":null}'
    call job_next 200 GET "/v1/jobs/$job/next"
    call job_run 202 POST "/v1/jobs/$job/runs" --data-binary '{"parameters":{"day":"y"},"only":["a"],"idempotency_token":"t"}'
    run=$(jq -r .run_id "$BODY")
    call job_run 422 POST "/v1/jobs/$job/runs" --data-binary '{"parameters":{"z":1}}'
    call job_backfill 202 POST "/v1/jobs/$job/backfill" --data-binary '{"parameter":"day","from":"2026-01-01","to":"2026-01-02"}'
    call job_backfill 413 POST "/v1/jobs/$job/backfill" --data-binary '{"parameter":"day","from":1,"to":2000}'
    call run_submit 202 POST /v1/runs --data-binary '{"tasks":[{"task_key":"a","type":"optimize","optimize":{"table":"m"}}]}'
    call run_list 200 GET /v1/runs
    call run_get 200 GET "/v1/runs/$run"
    call run_repair 409 POST "/v1/runs/$run/repair" --data-binary '{"tasks":["a"]}'
    call run_cancel 202 POST "/v1/runs/$run/cancel"
    call webhook_list 200 GET /v1/webhooks
    call webhook_get 404 GET /v1/webhooks/msg_01939a3e6f0a7c439b7e1d2b1a0c5f66
    call webhook_replay 404 POST /v1/webhooks/msg_01939a3e6f0a7c439b7e1d2b1a0c5f66/replay
    call job_delete 409 DELETE "/v1/jobs/$job"
    call job_delete 204 DELETE "/v1/jobs/$job?force=true"
}

test_answers_have_the_shape_of_the_contract()
{
    start_server --outgoing-allow 127.0.0.1:1 # where nobody listens: a run of task `a` stays active
    curl -sS "$URL/openapi.json" >"$WORK/openapi.json"
    local definition batch letter token
    definition='{"schema":{"fields":[{"name":"member_id","type":"string","nullable":false,"phi":true},{"name":"state","type":"string"},{"name":"n","type":"integer","minimum":0}]},"key":["member_id"],"lookup":[{"entity":"member","column":"member_id","as":"member"}]}'
    call table_put 201 PUT /v1/tables/m --data-binary "$definition"
    call table_put 200 PUT /v1/tables/m --data-binary "$definition"
    call table_put 428 PUT /v1/tables/m --data-binary "${definition/%\}/,\"description\":\"x\"\}}"
    call table_put 422 PUT /v1/tables/bad --data-binary '{"schema":{"fields":[{"name":"a","type":"int"}]}}'
    call table_list 200 GET /v1/tables
    call table_get 200 GET /v1/tables/m
    call table_get 404 GET /v1/tables/none
    call batch_post 202 POST /v1/tables/m/batches --data-binary '[{"member_id":"a","n":1},{"member_id":"b","n":-1},{"x":1}]'
    batch=$(jq -r .batch_id "$BODY")
    call batch_get 200 GET "/v1/batches/$batch" -H 'Prefer: wait=30'
    call batch_errors 200 GET "/v1/batches/$batch/errors"
    call batch_post 200 POST /v1/tables/m/batches -H 'Prefer: wait=30' --data-binary '[{"member_id":"c","n":1}]'
    call batch_post 200 POST '/v1/tables/m/batches?dry_run=true' --data-binary '[{"member_id":"c","n":-1}]'
    call batch_post 422 POST /v1/tables/m/batches -H 'Prefer: handling=strict' --data-binary '[{"member_id":"c","n":-1}]'
    call batch_post 400 POST /v1/tables/m/batches --data-binary '[{'
    call dead_letter_list 200 GET '/v1/dead-letters?table=m'
    letter=$(jq -r '[.dead_letters[] | select(.code == "range")][0].dead_letter_id' "$BODY")
    call dead_letter_get 200 GET "/v1/dead-letters/$letter"
    call dead_letter_replay 422 POST "/v1/dead-letters/$letter/replay" --data-binary '{}'
    call dead_letter_replay 200 POST "/v1/dead-letters/$letter/replay" -H 'Prefer: wait=30' --data-binary '{"record":{"member_id":"b","n":2}}'
    call dead_letter_replay 409 POST "/v1/dead-letters/$letter/replay" --data-binary '{"record":{"member_id":"b","n":2}}'
    call row_list 200 GET '/v1/tables/m/rows?limit=1'
    call row_query 200 POST /v1/tables/m/rows/query --data-binary '{"filters":[{"column":"member_id","operator":"eq","value":"a"}]}'
    call table_history 200 GET /v1/tables/m/history
    call table_lookup 200 POST /v1/tables/m/lookup --data-binary '{"keys":[{"member_id":"a"},{"member_id":"zz"}]}'
    call member_get 200 GET /v1/members/a
    call member_get 404 GET /v1/members/zz
    call member_lookup 200 POST /v1/members/lookup --data-binary '{"member_ids":["a","zz"]}'
    call_jobs
    call principal_create 201 POST /v1/principals --data-binary '{"name":"acme","roles":[{"role":"partner","table":"m"}]}'
    call principal_create 409 POST /v1/principals --data-binary '{"name":"acme"}'
    call principal_list 200 GET /v1/principals
    call principal_get 200 GET /v1/principals/acme
    call principal_roles_put 200 PUT /v1/principals/acme/roles --data-binary '{"roles":[{"role":"analyst"}]}'
    call role_list 200 GET /v1/roles
    call token_create 201 POST /v1/tokens --data-binary '{"principal":"acme"}'
    token=$(jq -r .token_id "$BODY")
    call token_list 200 GET /v1/tokens
    call token_revoke 204 DELETE "/v1/tokens/$token"
    call access_explain 200 GET '/v1/access/explain?principal=acme&action=batch.post&resource=m'
    call livez 200 GET /livez
    call readyz 200 GET /readyz
    call table_delete 204 DELETE /v1/tables/m
    stop_server
}
