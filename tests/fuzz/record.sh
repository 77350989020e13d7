#!/usr/bin/env bash
# Add what fuzz runs reported ("ok   fuzz_NAME N runs", of logs or standard input) to
# tests/fuzz/RESULTS.md, where executions accumulate. A failed target is not counted: its
# finding is fixed first, with a corpus file.
#
#   tests/fuzz/record.sh [LOG…]
set -euo pipefail # a step that fails must not leave an empty count behind
here=$(cd "$(dirname "$0")" && pwd)
results=$here/RESULTS.md
new=$(mktemp "${TMPDIR:-/tmp}/sluice-fuzz-results.XXXXXX")
trap 'rm -f "$new"' EXIT

{
    cat <<'TEXT'
# Fuzz executions

Executions of each target without a finding, summed over all recorded runs (`make fuzz-record`), towards 10 million each;
under ASan and UBSan, on the corpus in `tests/fuzz/corpus`. What was found is fixed, and its input is in the corpus.

| target | executions |
|---|---|
TEXT
    {
        if [ -e "$results" ]; then
            sed -n 's/^| `\(fuzz_[a-z0-9_]*\)` | \([0-9,]*\) |$/\1 \2/p' "$results" | tr -d ,
        fi
        cat "$@" | tr -d '\000' | sed -n 's/^ok  *\(fuzz_[a-z0-9_]*\) \([0-9][0-9]*\) runs$/\1 \2/p'
    } | awk '
        { sum[$1] += $2 }
        END { for (name in sum) printf "%s %d\n", name, sum[name] }' | sort | while read -r name count; do
        printf '| `%s` | %s |\n' "$name" "$(sed -e ':a' -e 's/\B[0-9]\{3\}\>/,&/' -e ta <<<"$count")"
    done
} >"$new"
mv "$new" "$results"
chmod 644 "$results"
trap - EXIT
echo "$(grep -c '^| `' "$results") targets, $(sed -n 's/^| `.*` | \([0-9,]*\) |$/\1/p' "$results" | tr -d , | awk '$1 >= 10000000' | wc -l) with 10 million executions or more"
