#!/usr/bin/env bash
# Other engines read every kind of table after inserts, upserts and deletes, and
# every row is compared with a model. The Python environment is kept in build/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/build/interop-environment
stamp=$environment/$(sha256sum "$here/requirements.txt" | cut -c 1-16)
export SLUICE=${SLUICE:-$root/build/sluice}

if [ ! -e "$stamp" ]; then
    rm -rf "$environment"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    touch "$stamp"
fi
exec "$environment/bin/python" "$here/interop.py"
