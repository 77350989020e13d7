#!/usr/bin/env bash
# Lines of each decoder that the fuzz targets reach with their corpus: a table, and exit code 1
# when one is below 90 %, or is not measured at all.
#
#   tests/fuzz/coverage.sh FOLDER [MORE]
#
# FOLDER has the targets, built with coverage (FLAVOUR=cover). MORE may have further inputs, a
# folder for each target; those that reach something new are added to the corpus.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=$1
more=${2:-}
least=90
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-cover.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# What decodes bytes that others wrote, or that a disk kept.
decoders=(
    storage/base/{json_raw,text_calendar,text_number}.c
    storage/columns/{decode,decode_csv,decode_json,decode_json_text,decode_nested,decode_number,decode_value}.c
    storage/columns/{frame_codec,inflate,inflate_stream,infer_csv,infer_json,packed,row,schema_delta,schema_field,schema_parse}.c
    storage/delta/{checkpoint_read,decode,deletion_vector,log_json,log_json_parse}.c
    storage/jobs/zone_decode.c
    storage/journal/{segment_format,segment_walk}.c
    storage/parquet/{assemble,codec,column_reader,convert,delta_encodings,hybrid,metadata,reader,reader_read,reader_schema}.c
    storage/parquet/{rows,thrift,tree,values}.c
    storage/snapshot/{images,index_run,manifest,tombstones}.c
)

# run PROGRAM ARGUMENTS…: what it printed is told when it fails
run()
{
    if ! "$@" >"$scratch/output" 2>&1; then
        echo "FAIL $(basename "$1")" >&2
        tail -n 40 "$scratch/output" >&2
        return 1
    fi
}

objects=()
for program in "$folder"/fuzz_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=$(basename "$program")
    corpus=$here/corpus/${name#fuzz_}
    if [ -n "$more" ] && [ -d "$more/${name#fuzz_}" ]; then
        LLVM_PROFILE_FILE=/dev/null run "$program" -merge=1 -use_counters=0 -rss_limit_mb=2048 \
            -artifact_prefix="$scratch/" "$corpus" "$more/${name#fuzz_}"
    fi
    LLVM_PROFILE_FILE=$scratch/$name.raw run "$program" -runs=0 -rss_limit_mb=2048 \
        -artifact_prefix="$scratch/" "$corpus"
    objects+=(-object "$program")
done
llvm-profdata merge -sparse "$scratch"/*.raw -o "$scratch/profile"

(cd "$root" && ls "${decoders[@]}") >/dev/null # all are there
(cd "$root" && llvm-cov export -summary-only "${objects[@]:1}" -instr-profile="$scratch/profile" "${decoders[@]}") |
    jq -r --arg root "$root/" '.data[0].files[]|[(.filename|ltrimstr($root)), .summary.lines.count, .summary.lines.covered]|@tsv' |
    sort >"$scratch/lines"
printf '%s\n' "${decoders[@]}" | sort | join -t "$(printf '\t')" -a 1 - "$scratch/lines" |
    awk -F '\t' -v least=$least '
        {
            share = $2 > 0 ? 100 * $3 / $2 : 0
            verdict = $2 == "" ? "none" : share >= least ? "ok" : "short"
            printf "%-5s %5.1f %%  %5d lines  %s\n", verdict, share, $2, $1
            verdict == "ok" ? ok++ : below++
        }
        END {
            printf "%d decoders at %d %% of their lines or more, %d below\n", ok, least, below
            printf "%d passed, %d failed\n", ok, below
            exit below > 0
        }'
