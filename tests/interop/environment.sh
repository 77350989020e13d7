#!/usr/bin/env bash
# The Python environment of the other engines, made in build/ when it is missing or its
# requirements changed; prints its interpreter. Further requirement files are added to it.
#
#   tests/interop/environment.sh [REQUIREMENTS…]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/build/interop-environment
install=("$environment/bin/pip" install --quiet --disable-pip-version-check)

stamp=$environment/$(cat "$here"/requirements*.txt | sha256sum | cut -c 1-16)
if [ ! -e "$stamp" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    "${install[@]}" -r "$here/requirements.txt" >&2
    # without it the run says what it could not verify
    "${install[@]}" -r "$here/requirements-spark.txt" >&2 ||
        echo "pyspark cannot be installed; Spark stays unverified" >&2
    touch "$stamp"
fi
for more in "$@"; do
    stamp=$environment/$(sha256sum <"$more" | cut -c 1-16)
    if [ ! -e "$stamp" ]; then
        "${install[@]}" -r "$more" >&2
        touch "$stamp"
    fi
done
echo "$environment/bin/python"
