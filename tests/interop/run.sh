#!/usr/bin/env bash
# Other engines read every kind of table that we write, we read theirs, and every row is
# compared. The Python environment and Spark's jars are kept in build/.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export SLUICE=${SLUICE:-$root/build/sluice}
export INTEROP_JARS=$root/build/interop-jars
python=$("$here/environment.sh")
exec "$python" "$here/interop.py" "$@"
