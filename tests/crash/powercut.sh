#!/usr/bin/env bash
# Power loss on a real file system (ext4): what was acknowledged must be there, exactly
# once, after the file system was shut down (xfs_io shutdown -f) or its device
# stopped taking writes (nbdkit's error filter under a loop device) at a random
# moment under load. Then the rigs themselves are proven by planted bugs.
#
#   tests/crash/powercut.sh BUILD [SHUTDOWNS [CUTS]]      default 100 and 50; root
#
# All mounts are made in a mount and process namespace of this script and end with it.
set -u

disk_bytes=2G # sparse; journals and reserves are laid out beforehand

# ---- the two rigs: `powercut.sh cut|mend FOLDER`, called by the harness ----

attach()
{
    if [ "$(cat "$1/kind")" = shutdown ]; then
        mount -o loop "$1/disk" "$1/data"
        return
    fi
    rm -f "$1/trigger"
    : >"$1/device"
    nbdfuse "$1/device" --command nbdkit -s --exit-with-parent --filter=error file "$1/disk" \
        error=EIO error-rate=1 error-file="$1/trigger" >>"$1/nbd.log" 2>&1 &
    local tries=0 loop
    until [ -s "$1/device" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || return 1
        sleep 0.01
    done
    loop=$(losetup --show -f "$1/device") && mount "$loop" "$1/data" || return 1
    losetup -d "$loop" # once it is not mounted any more
}

detach()
{
    local tries=0 mount
    for mount in "$1/data" "$1/device"; do
        while mountpoint -q "$mount"; do
            umount "$mount" 2>/dev/null && continue
            tries=$((tries + 1))
            [ "$tries" -lt 500 ] || { echo "cannot unmount $mount" >&2; return 1; }
            sleep 0.01
        done
    done
}

case ${1:-} in
cut)
    if [ "$(cat "$2/kind")" = shutdown ]; then
        exec xfs_io -x -c 'shutdown -f' "$2/data"
    fi
    exec touch "$2/trigger"
    ;;
mend)
    detach "$2" && attach "$2"
    exit
    ;;
esac

# ---- the campaign ----

if [ "$(id -u)" -ne 0 ]; then
    echo "make powercut needs root (mount, loop devices): run it with sudo" >&2
    exit 77
fi
if [ "${POWERCUT_INSIDE:-}" != 1 ]; then
    POWERCUT_INSIDE=1 exec unshare --mount --propagation private --pid --fork --kill-child -- "$0" "$@"
fi
mount -t proc proc /proc # of the new process namespace; seen in here alone

build=$1
shutdowns=${2:-100}
cuts=${3:-50}
crash=$build/faults/crash/crash
program=$build/sluice
rig=$(cd "$(dirname "$0")" && pwd)/powercut.sh
scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-powercut.XXXXXX")
passed=0
failed=0
started=$SECONDS

finish()
{
    local folder
    for folder in "$scratch"/*/; do
        detach "$folder"
    done
    [ "$failed" -gt 0 ] || rm -rf --one-file-system "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

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

# run NAME KIND CYCLES SEED: exit code of the harness; its output in $scratch/NAME.out
run()
{
    local folder=$scratch/$1 code=0
    mkdir -p "$folder/data"
    echo "$2" >"$folder/kind"
    truncate -s "$disk_bytes" "$folder/disk"
    mkfs.ext4 -q -F "$folder/disk" && attach "$folder" || { echo "cannot make the disk of $1" >&2; return 70; }
    chmod 700 "$folder/data"
    local doubt=()
    [ "$2" != shutdown ] || doubt=(CRASH_DOUBT=1) # see crash.c
    env "${doubt[@]}" "$crash" "$program" "$folder" "$3" "$4" "$rig" >"$scratch/$1.out" 2>&1 || code=$?
    detach "$folder"
    [ "$code" -ne 0 ] || rm -f "$folder/disk" # of a red run it is the evidence
    return $code
}

campaign()
{
    run "$1" "$1" "$2" "${CRASH_SEED:-1}"
    local code=$?
    grep -E 'PROBLEM|cycles,|failed' "$scratch/$1.out"
    report "$2 times $3: nothing lost, nothing doubled" "$code"
}

# NAME KIND point=action@n REGEX CYCLES: a planted bug; one of a few runs must end red, for this reason
plant()
{
    local name=$1 seed found
    for seed in 7 8 9 10; do
        SLUICE_FAULTS=$3 run "$name-$seed" "$2" "$5" "$seed" && continue
        if found=$(grep -m1 -E "PROBLEM: .*($4)" "$scratch/$name-$seed.out"); then
            report "the $2 rig finds: $name ($found)" 0
            return
        fi
    done
    report "the $2 rig finds: $name" 1
}

[ "$shutdowns" -eq 0 ] || campaign shutdown "$shutdowns" "the file system shut down"
[ "$cuts" -eq 0 ] || campaign device "$cuts" "the device cut off"
spread_cuts=$((cuts * 2 / 5))
if [ "$spread_cuts" -gt 0 ]; then
    export CRASH_SPREAD=1 # hundreds of partitions a commit, synced as one group
    mkdir -p "$scratch/spread"
    run spread device "$spread_cuts" "${CRASH_SEED:-1}"
    code=$?
    grep -E 'PROBLEM|cycles,|failed' "$scratch/spread.out"
    report "$spread_cuts times the device cut off under very many partitions: nothing lost, nothing doubled" "$code"
    CRASH_LOAD_MS=${PLANT_LOAD_MS:-6000} \
        plant no-group-sync device 'file.system.no-sync=skip@1' 'instead of|fsck|status' 10
    unset CRASH_SPREAD
fi
plant ack-before-sync shutdown 'accept.ack-before-sync=skip@1' 'rows .* instead of|holds .* instead of' 10
plant synchronous-normal device 'catalog.synchronous-normal=skip@1' 'rows .* instead of|holds .* instead of' 10
CRASH_LOAD_MS=${PLANT_LOAD_MS:-6000} \
    plant no-directory-sync device 'file.publish.no-directory-sync=skip@1' 'instead of|fsck|status' 10

echo "power campaign: $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
