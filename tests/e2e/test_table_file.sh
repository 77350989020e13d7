# `sluice table rows` of Parquet files, whoever wrote them, without a server.
# shellcheck shell=bash

FILES=${BASH_SOURCE[0]%/*}/../fuzz/corpus/parquet_file

# rows CODE ARGUMENT…: standard output in $BODY, one line of standard error in $HEADERS.
rows()
{
    local expected=$1 code=0
    shift
    "$SLUICE" table rows "$@" >"$BODY" 2>"$HEADERS" || code=$?
    [ "$code" -eq "$expected" ] || fail "table rows $*: exit code $code: $(cat "$HEADERS")"
    if [ "$expected" -eq 0 ]; then
        [ ! -s "$HEADERS" ] || fail "table rows $*: $(cat "$HEADERS")"
    else
        [ "$(wc -l <"$HEADERS")" -eq 1 ] || fail "table rows $*: $(cat "$HEADERS")"
        [ ! -s "$BODY" ] || fail "table rows $*: printed rows before it was refused"
    fi
}

expect_rows()
{
    [ "$(cat "$BODY")" = "$1" ] || fail "expected $1, got $(cat "$BODY")"
}

expect_error()
{
    grep -qF -- "$1" "$HEADERS" || fail "expected '$1' in: $(cat "$HEADERS")"
}

test_rows_of_a_file()
{
    rows 0 "$FILES/list_columns.parquet"
    expect_rows '{"int64_list":[1,2,3],"utf8_list":["abc","efg","hij"]}
{"int64_list":[null,1],"utf8_list":null}
{"int64_list":[4],"utf8_list":["efg",null,"hij","xyz"]}'
    rows 0 "$FILES/list_columns.parquet" --columns utf8_list --limit 2
    expect_rows '{"utf8_list":["abc","efg","hij"]}
{"utf8_list":null}'
    rows 0 "$FILES/list_columns.parquet" --count
    expect_rows 3
    rows 0 "$FILES/list_columns.parquet" --count --limit 2 --json
    expect_rows '{"count":2}'
    rows 0 "$FILES/column_chunk_key_value_metadata.parquet"
    expect_rows ''
}

test_types_that_tables_do_not_have()
{
    rows 0 "$FILES/duckdb_odd_types.parquet" --columns iv,t,tn,l,s,m,bl,j,d38 --limit 2
    expect_rows '{"iv":null,"t":"01:02:03.400000","tn":"2020-01-01T00:00:00.123456","l":[0,null,1],"s":{"a":0,"b":[0]},"m":{"0":1},"bl":"eDA=","j":"{\"a\":1}","d38":0.000000000}
{"iv":"P0M0DT1.000S","t":"01:03:03.400000","tn":"2020-01-01T00:00:00.123456","l":[1,null,2],"s":{"a":1,"b":[1]},"m":{"1":2},"bl":"eDE=","j":"{\"a\":1}","d38":1.000000000}'
}

test_refusals_name_what_it_is()
{
    rows 65 "$FILES/duckdb_nested_brotli.parquet"
    expect_error "duckdb_nested_brotli.parquet: column 'ls.list.element', page at 4: codec BROTLI (4) is not supported"
    rows 65 "$FILES/encrypt_columns_and_footer_aad.parquet.encrypted"
    expect_error 'the Parquet file is encrypted'
    rows 65 "$FILES/encrypt_columns_plaintext_footer.parquet.encrypted"
    expect_error "column 'float_field' is encrypted"
    rows 65 "$FILES/ARROW-GH-45185.parquet"
    expect_error 'row 0 does not begin'
    rows 65 "$FILES/PARQUET-1481.parquet"
    rows 65 "$FILES/list_columns.parquet" --columns utf8_list,none
    expect_error "the file has no column 'none'"
    rows 65 "$FILES/list_columns.parquet" --version 1
    expect_error 'no versions'
    rows 65 "$FILES/README.md"
    expect_error 'not a Parquet file'
    rows 65 "$FILES"
    expect_error 'neither a Parquet file nor a folder of a Delta table'
    rows 66 "$WORK/none.parquet"
    expect_error 'none.parquet'
}

# A Delta table of Spark: structs in structs.
test_nested_columns_of_a_folder()
{
    local archive=${SLUICE_TEST_DATA:-}/delta-golden/data-reader-nested-struct.tar.zst
    command -v zstd >/dev/null || skip "zstd is not installed"
    [ -e "$archive" ] || skip "set SLUICE_TEST_DATA to read tables of other engines"
    zstd -dcq "$archive" | tar -xf - -C "$WORK"
    rows 0 "$WORK/data-reader-nested-struct/delta"
    [ "$(wc -l <"$BODY")" -eq 10 ] || fail "$(cat "$BODY")"
    sort "$BODY" | head -n 2 >"$HEADERS"
    mv "$HEADERS" "$BODY"
    expect_rows '{"a":{"aa":"0","ab":"0","ac":{"aca":0,"acb":0}},"b":0}
{"a":{"aa":"1","ab":"1","ac":{"aca":1,"acb":1}},"b":1}'
    rows 0 "$WORK/data-reader-nested-struct/delta" --columns b --limit 1
}

# What nobody asked for is not looked at.
test_columns_beside_an_encrypted_one()
{
    rows 0 "$FILES/encrypt_columns_plaintext_footer.parquet.encrypted" --columns boolean_field,int32_field --limit 2
    expect_rows '{"boolean_field":true,"int32_field":"00:00:00"}
{"boolean_field":false,"int32_field":"00:00:00.001000"}'
}

test_output_that_cannot_be_written()
{
    local code=0
    "$SLUICE" table rows "$FILES/list_columns.parquet" >/dev/full 2>"$HEADERS" || code=$?
    [ "$code" -eq 74 ] || fail "exit code $code: $(cat "$HEADERS")"
    expect_error 'standard output'
    for output in help 'table --help' "table rows ${FILES%/fuzz/*}/unit/storage/parquet/files/much_of_little_dict.parquet --count"; do
        code=0
        # shellcheck disable=SC2086 # several words
        "$SLUICE" $output >/dev/full 2>"$HEADERS" || code=$?
        [ "$code" -eq 74 ] || fail "$output: exit code $code: $(cat "$HEADERS")"
        expect_error 'standard output'
    done
}

# Damaged files, lying ones, and little ones that hold much, under a limit of memory.
test_bad_files_take_no_memory()
{
    local file code
    for file in "$FILES"/* "${FILES%/fuzz/*}"/unit/storage/parquet/files/*; do
        code=0
        (
            is_sanitized || ulimit -v 262144
            exec "$SLUICE" table rows "$file" >/dev/null 2>"$HEADERS"
        ) || code=$?
        case $code in
        0 | 65) ;;
        *) fail "$file: exit code $code: $(cat "$HEADERS")" ;;
        esac
    done
}

test_rows_that_are_much_of_little()
{
    local files=${FILES%/fuzz/*}/unit/storage/parquet/files
    rows 0 "$files/much_of_little_dict.parquet" --limit 3
    [ "$(wc -lc <"$BODY" | tr -s ' ')" = ' 3 3000027' ] || fail "$(wc -lc <"$BODY")"
    rows 0 "$files/much_of_little_delta.parquet"
    [ "$(wc -c <"$BODY")" -eq 240076890 ] || fail "$(wc -c <"$BODY") bytes"
    tr -d y <"$BODY" | cmp - <(seq -f '{"s":"%.0f"}' 0 5999) || fail "other rows"
    rows 65 "$files/much_of_little_nulls.parquet"
    expect_error "column 'l' has more in these rows than may be held at once"
}

# Columns are found by id, and the file has none: nulls would look like an empty table.
test_a_table_mapped_by_id_whose_file_has_no_ids()
{
    start_server
    create t '{"schema":{"fields":[{"name":"id","type":"string","nullable":false}]},"key":["id"]}'
    echo '{"id":"a"}' >"$WORK/one.ndjson"
    post t "$WORK/one.ndjson"
    stop_server
    local table=$WORK/mapped file mode
    file=$(find "$DATA/tables/t" -maxdepth 1 -name '*.parquet')
    for mode in name id; do
        rm -rf "$table"
        mkdir -p "$table/_delta_log"
        cp "$file" "$table/data.parquet"
        {
            echo '{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}'
            jq -nc --arg mode "$mode" '{metaData:{id:"7f0c6d52-6f2e-4d0e-9f0b-0f1f2f3f4f5f",format:{provider:"parquet",options:{}},partitionColumns:[],configuration:{"delta.columnMapping.mode":$mode},schemaString:({type:"struct",fields:[{name:"key",type:"string",nullable:true,metadata:{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"id"}}]}|tojson)}}'
            jq -nc --argjson size "$(wc -c <"$file")" '{add:{path:"data.parquet",partitionValues:{},size:$size,modificationTime:0,dataChange:true}}'
        } >"$table/_delta_log/00000000000000000000.json"
        if [ "$mode" = name ]; then
            rows 0 "$table"
            expect_rows '{"key":"a"}'
        else
            rows 65 "$table"
            expect_error 'its columns carry no field_id, by which the table finds them'
        fi
    done
}
