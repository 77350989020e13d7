#!/usr/bin/env bash
# The crash campaign: CYCLES kills under load must lose and double nothing; then
# the harness itself is proven, by planted bugs that must turn it red.
#
#   tests/crash/run.sh BUILD CYCLES
set -u
build=$1
cycles=$2
crash=$build/faults/crash/crash
program=$build/sluice
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-crash.XXXXXX")
passed=0
failed=0
started=$SECONDS

report()
{
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok   $1"
    else
        failed=$((failed + 1))
        echo "FAIL $1 (kept in $scratch)"
    fi
}

"$crash" "$program" "$scratch/clean" "$cycles" "${CRASH_SEED:-1}"
report "$cycles kills lose and double nothing" $?

# NAME point=action@n REGEX: a planted bug; one of a few short runs must end red,
# and for this reason
plant()
{
    local name=$1 faults=$2 reason=$3 seed found
    for seed in 7 8 9 10; do
        SLUICE_FAULTS=$faults "$crash" "$program" "$scratch/$name-$seed" 20 "$seed" \
            >"$scratch/$name-$seed.out" 2>&1 && continue
        if found=$(grep -m1 -E "PROBLEM: .*($reason)" "$scratch/$name-$seed.out"); then
            report "the harness finds: $name ($found)" 0
            return
        fi
    done
    report "the harness finds: $name" 1
}
plant acknowledge-before-sync 'accept.ack-before-sync=skip@1' 'rows .* instead of|holds .* instead of'
plant txn-left-out 'delta.commit.no-txn=skip@1' 'twice'
plant idempotency-in-another-transaction 'accept.idempotency-elsewhere=skip@1' 'twice'

echo "crash campaign: $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
if [ "$failed" -eq 0 ]; then
    rm -rf "$scratch"
fi
[ "$failed" -eq 0 ]
