#!/usr/bin/env bash
# The benchmark set (bench.py --help): programs in OUT/bench, the server in $SLUICE. Without
# --quick the engines of tests/interop are peers, too.
#
#   tests/bench/run.sh OUT [--quick] [options of bench.py…]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$1
shift
export SLUICE=${SLUICE:-$root/build/sluice}
export INTEROP_JARS=$root/build/interop-jars
case " $* " in
*" --quick "*) ;;
*)
    BENCH_PYTHON=$("$root/tests/interop/environment.sh" "$here/requirements.txt")
    export BENCH_PYTHON
    ;;
esac
exec python3 "$here/bench.py" --programs "$out/bench" "$@"
