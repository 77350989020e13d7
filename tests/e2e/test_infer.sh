# POST /v1/infer: a sample of a real file, its definition put as it is, the whole file
# posted. Needs SLUICE_TEST_DATA for the real ones.
# shellcheck shell=bash

# infer FILE CONTENT-TYPE [curl…]
infer()
{
    local file=$1 type=$2
    shift 2
    api POST /v1/infer -H "Content-Type: $type" --data-binary "@$file" "$@"
}

# The definition of the last answer becomes table $1.
put_inferred()
{
    jq -c .definition "$BODY" >"$WORK/inferred"
    create "$1" "$(cat "$WORK/inferred")"
}

test_infer_synthea()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of real records"
    local file=$SLUICE_TEST_DATA/health/synthea/patients_22948.csv.gz
    start_server
    zcat "$file" | sed -n '1,2001p' | gzip >"$WORK/sample.csv.gz"
    infer "$WORK/sample.csv.gz" text/csv -H 'Content-Encoding: gzip'
    expect_status 200
    expect .sample.records 2000
    expect '.definition.key|join(",")' '"Id"'
    expect '.definition.schema.fields[]|select(.name=="ZIP")|[.type,.format,.phi]|join(" ")' '"string zip true"'
    expect '.definition.schema.fields[]|select(.name=="BIRTHDATE")|.type' '"date"'
    expect '.definition.schema.fields[]|select(.name=="LAT")|.type' '"double"'
    expect '.definition.schema.fields[]|select(.name=="GENDER")|.enum|sort|join(",")' '"F,M"'
    put_inferred members
    post members "$file" -H 'Content-Encoding: gzip' -H 'Content-Type: text/csv'
    expect_status 200
    expect .records.accepted 22948
    expect .records.rejected 0
    stop_server
}

test_infer_prescription_events()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of real records"
    local file=$SLUICE_TEST_DATA/health/cms_desynpuf/pde.csv
    start_server
    head -c 60000 "$file" >"$WORK/sample.csv"
    infer "$WORK/sample.csv" text/csv
    expect_status 200
    expect .sample.cut_off true
    expect '.definition.key|join(",")' '"PDE_ID"'
    expect '.definition.schema.fields[]|select(.name=="PROD_SRVC_ID")|.type' '"string"'
    expect '.definition.schema.fields[]|select(.name=="SRVC_DT")|.type' '"date"'
    expect '.definition.schema.fields[]|select(.name=="DESYNPUF_ID")|.phi' true
    put_inferred prescriptions
    post prescriptions "$file" -H 'Content-Type: text/csv'
    expect_status 200
    expect .records.rejected 0
    expect .records.accepted "$(($(wc -l <"$file") - 1))"
    stop_server
}

test_infer_every_form()
{
    start_server
    printf '{"id":"a","n":1.5}\n{"id":"b","n":2}\n' >"$WORK/lines"
    printf '[{"id":"a","n":1.5},{"id":"b","n":2}]' >"$WORK/array"
    printf 'id,n\na,1.5\nb,2\n' >"$WORK/csv"
    for form in lines:application/x-ndjson array:application/json csv:text/csv \
        lines:application/octet-stream array:application/octet-stream csv:application/octet-stream; do
        infer "$WORK/${form%%:*}" "${form#*:}"
        expect_status 200
        expect '.definition|[.key[0],.merge,(.schema.fields|map(.type)|join(" "))]|join(" ")' \
            '"id deletion-vectors string decimal(10,2)"'
    done
    infer "$WORK/csv" text/html
    expect_status 415
    infer "$WORK/csv" application/vnd.apache.parquet
    expect_status 400
    printf 'not gzip' >"$WORK/bad"
    infer "$WORK/bad" text/csv -H 'Content-Encoding: gzip'
    expect_status 400
    stop_server
}

# A data file of a table of ours is a sample like any other.
test_infer_parquet()
{
    start_server
    create things '{"schema":{"fields":[{"name":"thing_id","type":"string","nullable":false},{"name":"price","type":"decimal(9,2)"},{"name":"at","type":"timestamp"},{"name":"raw","type":"binary"}]},"key":["thing_id"]}'
    for i in $(seq 120); do
        printf '{"thing_id":"t%d","price":%d.50,"at":"2026-01-01T00:00:00Z","raw":"AAE="}\n' "$i" "$i"
    done >"$WORK/things"
    post things "$WORK/things"
    expect_status 200
    infer "$(find "$DATA/tables/things" -name '*.parquet' | head -1)" application/octet-stream
    expect_status 200
    expect .sample.records 120
    expect '.definition|[.key[0],(.schema.fields|map(.type)|join(" "))]|join(" ")' \
        '"thing_id string decimal(9,2) timestamp binary"'
    expect '.fields|map(.confidence)|unique|join(",")' '"given"'
    put_inferred again
    stop_server
}

test_infer_needs_its_permission()
{
    start_server
    printf 'id\n1\n' >"$WORK/csv"
    api POST /v1/principals -H 'Content-Type: application/json' -d '{"name":"p","kind":"service","roles":[{"role":"partner"}]}'
    expect_status 201
    api POST /v1/tokens -H 'Content-Type: application/json' -d '{"principal":"p"}'
    expect_status 201
    local admin=$TOKEN
    TOKEN=$(jq -r .token "$BODY")
    infer "$WORK/csv" text/csv
    expect_status 403
    TOKEN=$admin
    stop_server
}

# Objects and arrays: from the sample to a table, and from its data file to another one.
test_infer_nested()
{
    mkdir "$WORK/in"
    start_server --source-roots "$WORK/in"
    jq -nc 'range(1200)|{id:"m\(.)",address:{city:(["Ulm","Bonn"][.%2]),last_name:"x"},visits:[range(.%3)|{day:"2024-01-0\(.+1)",codes:["a",null]}],counts:{("c\(.%500)"):.}}' >"$WORK/lines.ndjson"
    infer "$WORK/lines.ndjson" application/x-ndjson
    expect_status 200
    expect '.left_out' '[]'
    expect '.definition.schema.fields[]|select(.name=="address")|[.phi,(.type.fields|map(.name))]' '[true,["city","last_name"]]'
    expect '.definition.schema.fields[]|select(.name=="visits").type.elementType.fields|map(.name)' '["day","codes"]'
    expect '.definition.schema.fields[]|select(.name=="counts").type|[.type,.valueType]' '["map","integer"]'
    put_inferred patients
    post patients "$WORK/lines.ndjson"
    expect_status 200
    expect .records.rejected 0
    local file
    file=$(find "$DATA/tables/patients" -name '*.parquet' | head -1)
    infer "$file" application/octet-stream
    expect_status 200
    expect '.definition.schema.fields|map(.type|if type=="object" then .type else . end)' '["string","struct","array","map"]'
    put_inferred again
    cp "$file" "$WORK/in/patients.parquet"
    api POST /v1/runs -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '{"name":"load","tasks":[{"task_key":"load","type":"ingest","ingest":{"table":"again","source":{"type":"file","path":"patients.parquet"}}}]}'
    expect_status 200
    expect .result '"SUCCESS"'
    api GET '/v1/tables/again/rows?limit=10000'
    jq -c '.rows|sort_by(.id)' "$BODY" >"$WORK/again"
    api GET '/v1/tables/patients/rows?limit=10000'
    jq -c '.rows|sort_by(.id)' "$BODY" | cmp - "$WORK/again" || fail "the rows differ"
    stop_server
}
