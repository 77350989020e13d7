# Tables that other engines wrote (the golden tables of delta-io, see the data's SOURCES):
# each gives exactly the rows it is said to hold, or is refused for the reason its name says.
# shellcheck shell=bash

# equal NAME…: the rows of delta/ are those of the Parquet files in expected/
equal()
{
    local name
    for name in "$@"; do
        unpack "$name"
        "$SLUICE" table rows "$TABLE" | LC_ALL=C sort >"$WORK/rows" || fail "$name: cannot be read"
        expected | LC_ALL=C sort >"$WORK/expected"
        cmp -s "$WORK/rows" "$WORK/expected" || fail "$name: $(diff "$WORK/rows" "$WORK/expected" | head -c 600)"
        seen "$name"
    done
}

expected()
{
    find "$TABLE/../expected" -name '*.parquet' -print0 | while IFS= read -r -d '' file; do
        "$SLUICE" table rows "$file"
    done
}

# refused REGEX NAME…: exit code 65 and one line that says why
refused()
{
    local reason=$1 name code
    shift
    for name in "$@"; do
        unpack "$name"
        code=0
        "$SLUICE" table rows "$TABLE" >"$WORK/rows" 2>"$WORK/error" || code=$?
        [ "$code" -eq 65 ] || fail "$name: exit code $code: $(head -c 300 "$WORK/error")"
        [ "$(wc -l <"$WORK/error")" -eq 1 ] || fail "$name: says $(cat "$WORK/error")"
        grep -Eq "$reason" "$WORK/error" || fail "$name: does not say why: $(cat "$WORK/error")"
        [ ! -s "$WORK/rows" ] || fail "$name: gives rows all the same"
        seen "$name"
    done
}

# unpack NAME: the folder of its log in $TABLE
unpack()
{
    rm -rf "$WORK/golden"
    mkdir "$WORK/golden"
    zstd -qdc "$SLUICE_TEST_DATA/delta-golden/$1.tar.zst" | tar -xf - -C "$WORK/golden" 2>/dev/null ||
        fail "$1: cannot be unpacked"
    TABLE=$WORK/golden/$1/delta
}

seen()
{
    echo "$1" >>"$WORK/seen"
}

test_golden_tables()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of other engines' tables"
    # checkpoints, plain, of several parts, V2 in Parquet; with and without the commits before them
    equal 125-iterator-bug multi-part-checkpoint only-checkpoint-files v2-checkpoint-parquet
    equal basic-with-inserts-merge basic-with-inserts-updates deltalog-getChanges
    equal log-replay-latest-metadata-protocol
    equal snapshot-data0 snapshot-data2-deleted snapshot-data3 snapshot-vacuumed
    equal time-travel-partition-changes-b time-travel-schema-changes-b time-travel-start-start20
    equal dv-partitioned-with-checkpoint
    # types, partition values of every type, escaped paths
    equal basic-decimal-table parquet-all-types parquet-decimal-dictionaries
    equal data-reader-date-types-Asia data-reader-date-types-Iceland data-reader-date-types-Pst
    equal kernel-timestamp-pst kernel-timestamp-timestamp_millis data-reader-timestamp_ntz
    equal data-reader-escaped-chars data-skipping-partition-and-data-column data-skipping-basic-stats-all-types
    # nested
    equal data-reader-array-primitives data-reader-nested-struct
    # column mapping by name and by id
    equal table-with-columnmapping-mode-name data-reader-timestamp_ntz-id-mode
    equal data-skipping-basic-stats-all-types-columnmapping-id
    # a partition value "2021-09-08 11:11:11" has no zone: it is taken as UTC, while expected/ was
    # written by a session seven hours behind; the rest is equal
    unpack data-reader-partition-values
    "$SLUICE" table rows "$TABLE" | sed 's/T11:11:11Z/T18:11:11Z/' | LC_ALL=C sort >"$WORK/rows"
    cmp -s "$WORK/rows" <(expected | LC_ALL=C sort) || fail "data-reader-partition-values: other rows"
    seen data-reader-partition-values
    # added under one spelling of an absolute path, removed under another: empty
    local name
    for name in canonicalized-paths-normal-a canonicalized-paths-special-a; do
        unpack "$name"
        [ "$("$SLUICE" table rows "$TABLE" --count)" = 0 ] || fail "$name: the remove has no effect"
        seen "$name"
    done
    # logs without data, for replay alone: the files that they name are not there
    refused "data file .*: No such file" checkpoint delete-re-add-same-file-different-transactions \
        log-replay-special-characters-b
    # logs that are none
    refused "no metaData" deltalog-state-reconstruction-without-metadata data-reader-absolute-paths-escaped-chars \
        deltalog-state-reconstruction-from-checkpoint-missing-metadata
    refused "metaData.schemaString is missing" update-deleted-directory
    # several tables that Hive reads; ten rows each but for these
    unpack hive
    local folder count
    for folder in "$TABLE"/*/; do
        case $folder in */deltatbl-map-types-correctly/) count=1 ;; */deltatbl-partition-prune/) count=5 ;; *) count=10 ;; esac
        [ "$("$SLUICE" table rows "$folder" | jq -c . | sort -u | wc -l)" -eq "$count" ] || fail "hive: other rows in $folder"
    done
    "$SLUICE" table rows "$TABLE/deltatbl-map-types-correctly" >"$WORK/rows"
    [ "$(cat "$WORK/rows")" = '{"c1":97,"c2":"YmM=","c3":true,"c4":4,"c5":5,"c6":"foo","c7":6,"c8":7,"c9":8,"c10":"1970-01-01","c11":"1970-01-01T16:40:00Z","c12":12345.678900000000794535,"c13":["foo","bar"],"c14":{"foo":123},"c15":{"f1":"foo","f2":456}}' ] ||
        fail "hive: $(cat "$WORK/rows")"
    seen hive
    # every archive has its line here
    for name in "$SLUICE_TEST_DATA"/delta-golden/*.tar.zst; do
        grep -qx "$(basename "$name" .tar.zst)" "$WORK/seen" || fail "$(basename "$name") is not tested"
    done
}

# A table of ours, changed as an engine with type widening would: old files keep their types.
test_widened_types_are_read()
{
    start_server
    create wide '{"schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"a","type":"integer"},{"name":"b","type":"integer"},{"name":"c","type":"integer"},{"name":"d","type":"decimal(6,2)"},{"name":"e","type":"date"}]},"key":["id"],"merge":"copy-on-write"}'
    printf '%s\n' '{"id":"x","a":1,"b":-2,"c":3,"d":1234.56,"e":"2024-02-29"}' '{"id":"y"}' >"$WORK/rows.ndjson"
    post wide "$WORK/rows.ndjson"
    expect_status 200
    stop_server
    cp -r "$(echo "$DATA"/tables/wide*)" "$WORK/wide"
    local log=$WORK/wide/_delta_log
    local next
    next=$(printf '%020d' "$(find "$log" -name '*.json' | wc -l)")
    {
        echo '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["typeWidening","timestampNtz"],"writerFeatures":["typeWidening","timestampNtz"]}}'
        grep -h '"metaData"' "$log"/*.json | tail -n 1 | jq -c '.metaData.schemaString |= (fromjson | .fields |= map(.type =
            ({a:"long",b:"double",c:"decimal(12,2)",d:"decimal(20,4)",e:"timestamp_ntz"}[.name] // .type)) | tojson)'
    } >"$log/$next.json"
    "$SLUICE" table rows "$WORK/wide" | sort >"$WORK/out"
    printf '%s\n' '{"id":"x","a":1,"b":-2,"c":3.00,"d":1234.5600,"e":"2024-02-29T00:00:00"}' \
        '{"id":"y","a":null,"b":null,"c":null,"d":null,"e":null}' >"$WORK/wanted"
    cmp -s "$WORK/out" "$WORK/wanted" || fail "$(cat "$WORK/out")"
    sed -i 's/"readerFeatures":\[/&"collations",/' "$log/$next.json"
    local code=0
    "$SLUICE" table rows "$WORK/wide" >"$WORK/out" 2>"$WORK/error" || code=$?
    [ "$code" -eq 65 ] || fail "an unknown feature: exit code $code"
    grep -q 'features we cannot read: collations' "$WORK/error" || fail "$(cat "$WORK/error")"
}

test_what_a_table_folder_tells()
{
    [ -n "${SLUICE_TEST_DATA:-}" ] || skip "set SLUICE_TEST_DATA to the folder of other engines' tables"
    unpack multi-part-checkpoint
    "$SLUICE" table checkpoint-info "$TABLE" >"$BODY"
    expect '[.version,.checkpoint_version,.commits_since,.last_checkpoint]' '[1,1,0,1]'
    expect '.checkpoints' '[{"version":1,"kind":"multi-part","files":2}]'
    "$SLUICE" table schema "$TABLE" >"$BODY"
    expect '[.version,.schema.fields[0].name,.min_reader_version,.reader_features]' '[1,"id",1,[]]'
    "$SLUICE" table files "$TABLE" --json | jq -s '{rows:(map(.rows)|add),bytes:(map(.bytes)|add > 0),names:(map(.path)|unique|length)}' >"$BODY"
    [ "$(jq .names "$BODY")" = "$("$SLUICE" table files "$TABLE" | wc -l)" ] || fail "files are told twice"
    unpack basic-with-inserts-updates
    [ "$("$SLUICE" table rows "$TABLE" --where id:ge:2 --where id:lt:4 --columns id)" = '{"id":2}
{"id":3}' ] || fail "two filters"
    [ "$("$SLUICE" table rows "$TABLE" --where id:in:1,3,1000 --count)" = 2 ] || fail "a list"
    local code=0
    "$SLUICE" table rows "$TABLE" --where id:le:x 2>"$WORK/error" || code=$?
    [ "$code" -eq 65 ] || fail "a filter that is none: exit code $code"
    unpack time-travel-start-start20
    local first
    first=$("$SLUICE" table history "$TABLE" --json | jq -rs 'sort_by(.version)[0].timestamp')
    [ "$("$SLUICE" table rows "$TABLE" --timestamp "$first" --count)" = 10 ] || fail "as of the first moment: $("$SLUICE" table rows "$TABLE" --timestamp "$first" --count)"
    [ "$("$SLUICE" table rows "$TABLE" --version 0 --count)" = 10 ] || fail "as of version 0"
    [ "$("$SLUICE" table files "$TABLE" --version 0 | wc -l)" -lt "$("$SLUICE" table files "$TABLE" | wc -l)" ] || fail "files of version 0"
    code=0
    "$SLUICE" table rows "$TABLE" --timestamp 1999-01-01T00:00:00Z 2>"$WORK/error" || code=$?
    [ "$code" -eq 66 ] || fail "before there was a table: exit code $code"
    code=0
    "$SLUICE" table schema nowhere/at/all 2>"$WORK/error" || code=$?
    [ "$code" -eq 66 ] || fail "no folder: exit code $code"
}
