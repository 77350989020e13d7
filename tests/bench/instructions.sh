#!/usr/bin/env bash
# Instructions a record in each stage (bench_stages.c), counted by callgrind: the same on an idle
# machine and a busy one. A stage that takes more than 3 % above tests/bench/instructions.txt
# fails, with the ten functions that took most of it.
#
#   tests/bench/instructions.sh OUT            compare
#   tests/bench/instructions.sh OUT --record   write the baseline
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
baseline=$here/instructions.txt
program=$1/bench/bench_stages
most=103 # percent of the baseline
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-instructions.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# Tables stay off the disk; vector code is that of the processor valgrind shows.
count()
{
    local stage=$1 records
    records=$(TMPDIR=$scratch valgrind --quiet --tool=callgrind --collect-atstart=no \
        --callgrind-out-file="$scratch/$stage" "$program" "$stage" 2>"$scratch/$stage.log") || {
        echo "FAIL $stage does not run" >&2
        cat "$scratch/$stage.log" >&2
        return 1
    }
    awk -v records="$records" '/^(summary|totals):/ { total = $2 } END { printf "%.1f\n", total / records }' \
        "$scratch/$stage"
}

if [ "${2:-}" = --record ]; then
    {
        echo "# Instructions a record; tests/bench/instructions.sh OUT --record writes them."
        for stage in ndjson array csv encode frame image merge lookup; do
            echo "$stage $(count "$stage")"
        done
    } >"$scratch/baseline"
    mv "$scratch/baseline" "$baseline"
    cat "$baseline"
    exit 0
fi

passed=0
failed=0
while read -r stage before; do
    case $stage in "#"*) continue ;; esac
    now=$(count "$stage")
    share=$(awk -v now="$now" -v before="$before" 'BEGIN { printf "%.1f", 100 * now / before }')
    if awk -v share="$share" -v most="$most" 'BEGIN { exit share > most }'; then
        echo "ok   $stage $now instructions a record, $share % of the baseline"
        passed=$((passed + 1))
    else
        echo "FAIL $stage $now instructions a record, $share % of the baseline of $before"
        callgrind_annotate "$scratch/$stage" | grep -A 12 'file:function' | head -n 13
        failed=$((failed + 1))
    fi
done <"$baseline"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
