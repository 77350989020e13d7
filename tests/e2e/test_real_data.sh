# Real records (see SOURCES beside them): exact counts, posted twice, changed, upserted.
# Needs SLUICE_TEST_DATA; .ci/run sets it and fails when it is absent.
# shellcheck shell=bash

real_data()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of real records"
}

# A table whose columns are all strings but for the ones named: header line, key, "column=type"…
define_of_header()
{
    local table=$1 header=$2 key=$3
    shift 3
    local types
    types=$(printf '%s\n' "$@" | jq -R 'split("=")|{(.[0]):.[1]}' | jq -s 'add // {}')
    printf '%s' "$header" | tr -d '\r' | jq -R --arg key "$key" --argjson types "$types" \
        '{schema:{fields:(split(",")|map({name:.,type:($types[.]//"string"),nullable:(.!=$key)}))},key:[$key]}' >"$WORK/definition"
    create "$table" "$(cat "$WORK/definition")"
}

expect_rows()
{
    api GET "/v1/tables/$1"
    expect .rows "$2"
}

# All rows of some columns as sorted CSV without quotes.
export_columns()
{
    local table=$1 columns=$2 token=""
    : >"$WORK/export"
    while :; do
        api GET "/v1/tables/$table/rows?limit=10000&columns=$columns${token:+&page_token=$token}"
        expect_status 200
        jq -r --arg columns "$columns" '.rows[]|[.[($columns|split(","))[]]]|map(.//"")|join(",")' "$BODY" >>"$WORK/export"
        token=$(jq -r '.next_page_token // ""' "$BODY")
        [ -n "$token" ] || break
    done
    LC_ALL=C sort -o "$WORK/export" "$WORK/export"
}

test_synthea_members()
{
    real_data
    local file=$SLUICE_TEST_DATA/health/synthea/patients_22948.csv.gz
    start_server
    define_of_header members "$(zcat "$file" | head -1)" Id BIRTHDATE=date DEATHDATE=date
    for _ in first again; do
        post members "$file" -H 'Content-Encoding: gzip' -H 'Content-Type: text/csv'
        expect_status 200
        expect .records.received 22948
        expect .records.accepted 22948
        expect_rows members 22948
    done
    export_columns members ZIP
    [ "$(grep -c '^$' "$WORK/export")" = 10701 ] || fail "rows without ZIP: $(grep -c '^$' "$WORK/export")"
    # change every tenth row's city, upsert the lot
    zcat "$file" | awk -F, -v OFS=, 'NR == 1 || NR % 10 == 0 { if (NR > 1) $18 = "Moved"; print }' >"$WORK/changed.csv"
    post members "$WORK/changed.csv"
    expect_status 200
    expect_rows members 22948
    export_columns members CITY
    [ "$(grep -c '^Moved$' "$WORK/export")" = 2294 ] || fail "changed rows: $(grep -c '^Moved$' "$WORK/export")"
}

test_cms_prescriptions()
{
    real_data
    local file=$SLUICE_TEST_DATA/health/cms_desynpuf/pde.csv
    start_server
    define_of_header prescriptions "$(head -1 "$file")" PDE_ID SRVC_DT=date QTY_DSPNSD_NUM='decimal(12,3)' DAYS_SUPLY_NUM=integer
    for _ in first again; do
        post prescriptions "$file"
        expect_status 200
        expect .records.accepted 17443
        expect_rows prescriptions 17443
    done
    sed '1!s/,30,/,31,/' "$file" >"$WORK/changed.csv"
    post prescriptions "$WORK/changed.csv"
    expect_rows prescriptions 17443
    export_columns prescriptions PDE_ID,DAYS_SUPLY_NUM
    tr -d '\r' <"$WORK/changed.csv" | awk -F, 'NR > 1 { print $2 "," $6 }' | LC_ALL=C sort >"$WORK/expected"
    cmp "$WORK/export" "$WORK/expected" || fail "the changed rows differ"
}

test_cms_beneficiaries_keep_their_names()
{
    real_data
    local file=$SLUICE_TEST_DATA/health/cms_bfd/benes.csv
    start_server
    define_of_header benes "$(head -1 "$file")" BENE_MBI_ID BENE_BRTH_DT=date
    for _ in first again; do
        post benes "$file"
        expect_status 200
        expect .records.accepted 21001
        expect_rows benes 21001
    done
    export_columns benes BENE_MBI_ID,BENE_LAST_NAME,BENE_1ST_NAME
    tr -d '\r' <"$file" | awk -F, 'NR > 1 { print $2 "," $3 "," $4 }' | LC_ALL=C sort >"$WORK/expected"
    cmp "$WORK/export" "$WORK/expected" || fail "names differ"
    [ "$(LC_ALL=C grep -c $'[\x80-\xff]' "$WORK/export")" = 386 ] ||
        fail "non-ASCII names: $(LC_ALL=C grep -c $'[\x80-\xff]' "$WORK/export")"
}
