#!/usr/bin/env bash
# Other engines read every kind of table that we write, we read theirs, and every row is
# compared. The Python environment and Spark's jars are kept in build/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/build/interop-environment
stamp=$environment/$(cat "$here"/requirements*.txt | sha256sum | cut -c 1-16)
export SLUICE=${SLUICE:-$root/build/sluice}
export INTEROP_JARS=$root/build/interop-jars

if [ ! -e "$stamp" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    install=("$environment/bin/pip" install --quiet --disable-pip-version-check)
    "${install[@]}" -r "$here/requirements.txt"
    # without it the run says what it could not verify
    "${install[@]}" -r "$here/requirements-spark.txt" || echo "pyspark cannot be installed; Spark stays unverified"
    touch "$stamp"
fi
exec "$environment/bin/python" "$here/interop.py" "$@"
