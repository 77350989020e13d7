#!/usr/bin/env bash
# Run every stress program of a folder (built for TSan); exit 66 is a race.
set -u
passed=0
failed=0
for program in "$1"/*; do
    [ -x "$program" ] || continue
    if TSAN_OPTIONS=halt_on_error=1 "$program"; then
        passed=$((passed + 1))
        echo "ok   $(basename "$program")"
    else
        failed=$((failed + 1))
        echo "FAIL $(basename "$program") (exit $?)"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
