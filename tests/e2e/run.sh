#!/usr/bin/env bash
# Run end-to-end tests: tests/e2e/run.sh [file…] [-t name]; prints one line a
# test and a last line "N passed, N failed[, N skipped]"; exit code 1 when any failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
export SLUICE=${SLUICE:-$here/../../build/sluice}
export TOOLS=${TOOLS:-$here/../../build/release/tools} # programs of tests/tools
only=""
files=()
while [ $# -gt 0 ]; do
    case $1 in
    -t) only=$2; shift 2 ;;
    *) files+=("$1"); shift ;;
    esac
done
[ ${#files[@]} -gt 0 ] || files=("$here"/test_*.sh)

passed=0
failed=0
skipped=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-e2e.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

run_one()
(
    set -euo pipefail
    WORK=$(mktemp -d "$scratch/XXXXXX")
    DATA=$WORK/data LOG=$WORK/log BODY=$WORK/body HEADERS=$WORK/headers
    SERVER_PID="" STATUS="" URL="" TOKEN=""
    mkdir -p "$DATA"
    chmod 700 "$DATA"
    mkfifo "$WORK/never"
    : >"$LOG"
    trap '[ -z "$SERVER_PID" ] || kill -KILL "$SERVER_PID" 2>/dev/null || true' EXIT
    . "$here/lib.sh"
    . "$1"
    "$2"
    if [ -n "$SERVER_PID" ]; then
        stop_server
    fi
)

for file in "${files[@]}"; do
    for name in $(sed -n 's/^\(test_[a-z0-9_]*\)().*/\1/p' "$file"); do
        [ -z "$only" ] || [ "$only" = "$name" ] || continue
        run_one "$file" "$name" # not in a condition, where its set -e would be ignored
        code=$?
        case $code in
        0) passed=$((passed + 1)) verdict="ok  " ;;
        77) skipped=$((skipped + 1)) verdict=skip ;; # the test has said why
        *) failed=$((failed + 1)) verdict=FAIL ;;
        esac
        echo "$verdict $(basename "$file" .sh) $name"
    done
done
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
