#!/usr/bin/env bash
# Run every fuzz target of a folder for a while on its corpus
# (tests/fuzz/corpus/<name> for fuzz_<name>), two at a time.
#
#   tests/fuzz/run.sh FOLDER SECONDS
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
seconds=$2
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-fuzz.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

run_one()
{
    local program=$1 name
    name=$(basename "$program")
    mkdir -p "$scratch/$name.new"
    if "$program" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$scratch/$name." "$scratch/$name.new" \
        "$here/corpus/${name#fuzz_}" >"$scratch/$name.log" 2>&1; then
        echo "ok   $name $(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/$name.log") runs"
    else
        echo "FAIL $name"
        tail -n 40 "$scratch/$name.log" >&2
        for artifact in "$scratch/$name".*-*; do
            [ -e "$artifact" ] || continue
            echo "artifact $(basename "$artifact"): $(base64 -w0 "$artifact" | head -c 2000)" >&2
        done
    fi
}
export -f run_one
export here seconds scratch

find "$folder" -maxdepth 1 -type f -perm -u+x -name 'fuzz_*' | sort |
    xargs -P 2 -I{} bash -c 'run_one {}' | tee "$scratch/results"
passed=$(grep -c '^ok' "$scratch/results")
failed=$(grep -c '^FAIL' "$scratch/results")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
