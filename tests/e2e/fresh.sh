#!/usr/bin/env bash
# README's two commands on a bare Debian: debootstrap --variant=minbase into a
# temporary folder, a clone of the last commit, `git` and `make` installed as
# README says, then `make demo` (once, a tenth of the records) and `make test`.
#
#   tests/e2e/fresh.sh                     needs root; 10 to 30 minutes
#   FRESH_FOLDER=/path …                   where the system is made (default: $TMPDIR)
#   SLUICE_TEST_DATA=/path …               given on to `make test`, read-only
#
# The packages come from where apt on this machine has them from. All mounts are
# made in a mount namespace of this script, so they end with it, however it ends.
set -euo pipefail

if [ "$(id -u)" -ne 0 ]; then
    echo "make fresh needs root (debootstrap, chroot, mount): run it with sudo" >&2
    exit 77
fi
if [ "${FRESH_INSIDE:-}" != 1 ]; then
    # mounts and processes of their own: nothing of them outlives the run
    FRESH_INSIDE=1 exec unshare --mount --propagation private --pid --fork --kill-child -- "$0" "$@"
fi
mount -t proc proc /proc # of the new process namespace; seen in here alone

repository=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${FRESH_FOLDER:-${TMPDIR:-/tmp}}/sluice-fresh.XXXXXX")
root=$scratch/root
log=$scratch/log
mounts=()
passed=0
failed=0

finish()
{
    local mount
    for mount in "${mounts[@]}"; do
        umount -l "$mount" || return 0 # never remove what may be mounted from outside
    done
    rm -rf --one-file-system "$root"
    if [ "$failed" -eq 0 ]; then
        rm -rf "$scratch"
    else
        echo "the log is kept in $log" >&2
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND…: counted; the rest is pointless when one fails
step()
{
    local name=$1 started=$SECONDS code=0
    shift
    echo "==== $name" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || code=$?
    if [ "$code" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok   $name ($((SECONDS - started)) s)"
        return
    fi
    failed=$((failed + 1))
    tail -n 60 "$log" | sed 's/^/    /'
    echo "FAIL $name (exit code $code, $((SECONDS - started)) s)"
    echo "$passed passed, $failed failed"
    exit 1
}

# The environment of a new shell in the new system, nothing of this one's.
inside()
{
    env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

mount_into()
{
    local where=$root/$1
    shift
    mkdir -p "$where"
    mount "$@" "$where"
    mounts=("$where" "${mounts[@]}")
}

# The apt sources of this machine that serve its own release, one-line and deb822 alike.
sources_of()
{
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -f "$file" ] || grep -E "^deb .* $1([-/][a-z-]+)? " "$file" || true
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$file" ] || awk -v RS= -v suite="$1" \
            '$0 ~ "(^|\n)Suites:[^\n]* " suite "([ \n-]|$)" { gsub(/#[^\n]*\n/, ""); print $0 "\n" }' "$file"
    done
}

# The first address that apt itself has that release from.
mirror_of()
{
    apt-get indextargets --format '$(SITE) $(RELEASE) $(IDENTIFIER)' "Codename: $1" |
        awk -v suite="$1" '$2 == suite && $3 == "Packages" { print $1; exit }'
}

make_system()
{
    local suite mirror
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(mirror_of "$suite")
    [ -n "$mirror" ] || { echo "apt has no index of $suite here: run apt-get update" >&2; return 1; }
    debootstrap --variant=minbase "$suite" "$root" "$mirror"

    rm -f "$root/etc/apt/sources.list"
    if sources_of "$suite" | grep -q '^Types:'; then
        sources_of "$suite" | grep -v '^deb ' >"$root/etc/apt/sources.list.d/here.sources"
    fi
    sources_of "$suite" | { grep '^deb ' || true; } >"$root/etc/apt/sources.list"
    apt-config dump | { grep -iE '^Acquire::(http|https)::Proxy' || true; } >"$root/etc/apt/apt.conf.d/90here"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    if grep -qs 'https://' "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*; then
        mkdir -p "$root/etc/ssl/certs"
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
    # an installation starts no service in here
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"

    mount_into proc -t proc proc
    mount_into sys -t sysfs -o ro sysfs
    mount_into dev/shm -t tmpfs tmpfs
    mount_into dev/pts -t devpts -o newinstance,ptmxmode=0666 devpts
}

echo "a bare system in $root, the last commit of $repository"
step "debootstrap --variant=minbase" make_system
step "apt-get install git make" inside sh -c \
    'apt-get update -qq && apt-get install -qq -y --no-install-recommends git make'
step "git clone" git clone -q --no-local "$repository" "$root/root/sluice"
step "make demo" inside env DEMO_ONCE=1 DEMO_SCALE=10 make -C /root/sluice demo
sed -n 's/^ *\(.*records posted, merged and indexed.*\)/     \1/p' "$log"
data=()
if [ -n "${SLUICE_TEST_DATA:-}" ]; then
    mount_into root/data --bind -o ro "$SLUICE_TEST_DATA"
    data=(SLUICE_TEST_DATA=/root/data)
fi
step "make test" inside env "${data[@]}" make -C /root/sluice test
awk '{ gsub(/\033\[[0-9;]*m/, "") }
    /Synthesis: Tested:/ { for (i = 1; i <= NF; i++) if ($i == "Passing:") unit += $(i + 1) }
    /^[0-9]+ passed, [0-9]+ failed/ { whole += $1 }
    END { printf "     %d unit tests, %d end-to-end tests\n", unit, whole }' "$log"

echo "$passed passed, $failed failed"
