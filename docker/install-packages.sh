#!/bin/sh
# Install the Debian packages of the named groups that are missing.
# Lists them first; does nothing when all are there; sudo only when needed.
#
#   docker/install-packages.sh build test
set -eu

here=$(dirname "$0")
missing=""
for group in "$@"; do
    for package in $(sed -n "s/^$group //p" "$here/packages.txt"); do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        case " $missing " in *" $package "*) continue ;; esac
        [ "$state" = installed ] || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

echo "Sluice needs these Debian packages:$missing"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Please install them as root, then run this again:" >&2
        echo "  apt-get install --no-install-recommends$missing" >&2
        exit 69
    fi
    as_root=sudo
fi
# shellcheck disable=SC2086  # both are lists of words
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
