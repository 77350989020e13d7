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

# NAME point=action@n: a planted bug; one of a few short runs must end red
plant()
{
    local name=$1 faults=$2 seed
    for seed in 7 8 9 10; do
        if ! SLUICE_FAULTS=$faults "$crash" "$program" "$scratch/$name-$seed" 20 "$seed" \
            >"$scratch/$name.out" 2>&1; then
            report "the harness finds: $name ($(grep -m1 PROBLEM "$scratch/$name.out" | cut -c 1-90))" 0
            return
        fi
    done
    report "the harness finds: $name" 1
}
plant acknowledge-before-sync 'accept.ack-before-sync=skip@1'
plant txn-left-out 'delta.commit.no-txn=skip@1'
plant idempotency-in-another-transaction 'accept.idempotency-elsewhere=skip@1'

echo "crash campaign: $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
if [ "$failed" -eq 0 ]; then
    rm -rf "$scratch"
fi
[ "$failed" -eq 0 ]
