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
    [ "$(wc -l <"$WORK/operations")" -ge 31 ] || fail "the contract has shrunk"
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
