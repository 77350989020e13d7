#!/usr/bin/env bash
# Lines of each decoder that the fuzz targets reach with their corpus: a table, and exit code 1
# when one is below 90 %.
#
#   tests/fuzz/coverage.sh FOLDER [MORE]
#
# FOLDER has the targets, built with coverage (FLAVOUR=cover). MORE may have further inputs, a
# folder for each target; those that reach something new are added to the corpus.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
more=${2:-}
least=90
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-cover.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# What decodes bytes that others wrote, or that a disk kept.
decoders=(
    storage/base/{json_raw,log_json,text_calendar,text_number,zone}.c
    storage/columns/{decode,decode_csv,decode_json,decode_json_text,decode_nested,decode_number,decode_value}.c
    storage/columns/{frame_codec,inflate,infer_csv,infer_json,packed,row,schema_delta,schema_field,schema_parse}.c
    storage/delta/{actions,checkpoint_read,decode,deletion_vector,log_json_parse,protocol}.c
    storage/parquet/{assemble,codec,column_reader,convert,delta_encodings,hybrid,metadata,reader,reader_read,reader_schema}.c
    storage/parquet/{rows,thrift,tree,values}.c
    storage/snapshot/{images,index_run,manifest,tombstones}.c
    storage/journal/segments.c
)

objects=()
for program in "$folder"/fuzz_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=$(basename "$program")
    case $name in *.*) continue ;; esac
    corpus=$here/corpus/${name#fuzz_}
    if [ -n "$more" ] && [ -d "$more/${name#fuzz_}" ]; then
        LLVM_PROFILE_FILE=/dev/null "$program" -merge=1 -use_counters=0 -rss_limit_mb=2048 \
            "$corpus" "$more/${name#fuzz_}" >/dev/null 2>&1
    fi
    LLVM_PROFILE_FILE=$scratch/$name.raw "$program" -runs=0 -rss_limit_mb=2048 "$corpus" >/dev/null 2>&1
    objects+=(-object "$program")
done
llvm-profdata merge -sparse "$scratch"/*.raw -o "$scratch/profile"

present=()
for file in "${decoders[@]}"; do
    [ -e "$here/../../$file" ] && present+=("$here/../../$file")
done
llvm-cov report "${objects[@]:1}" -instr-profile="$scratch/profile" "${present[@]}" 2>/dev/null |
    awk -v least=$least '
        $1 ~ /\.c$/ {
            lines = $8; missed = $9; share = lines > 0 ? 100 * (lines - missed) / lines : 100
            verdict = share >= least ? "ok" : "short"
            printf "%-5s %5.1f %%  %5d lines  %s\n", verdict, share, lines, $1
            short += verdict == "short"; ok += verdict == "ok"
        }
        END { printf "%d decoders at %d %% of their lines or more, %d below\n", ok, least, short; exit short > 0 }'
