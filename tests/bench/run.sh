#!/usr/bin/env bash
# The first benchmark: records/s end to end, merge latency of 1,000 rows into
# BENCH_KEYS (default 1,000,000), lookups/s with p50 and p99, each beside a peer in
# the same run with the same durability. Rounds are interleaved; the median counts.
# Then what BENCH_JOBS jobs a minute (default 1,000; 0 = leave it out) cost lookups
# and batches, over BENCH_MARKS (2) minute marks after BENCH_IDLE (30) idle seconds.
#
#   tests/bench/run.sh OUT          programs in OUT/bench, the server in $SLUICE
#   tests/bench/run.sh OUT jobs     the last part only
set -euo pipefail
out=$1
program=${SLUICE:?}
keys=${BENCH_KEYS:-1000000}
rounds=${BENCH_ROUNDS:-3}
jobs=${BENCH_JOBS:-1000}
long_runs=${BENCH_LONG_RUNS:-50}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-bench.XXXXXX")
server=""
nothing=""
trap '[ -z "$server" ] || kill -TERM $server 2>/dev/null; [ -z "$nothing" ] || kill $nothing 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
load() { "$out/bench/bench_http" "$@"; }

echo "machine: $(nproc) cores, $(uptime | sed 's/.*load/load/')"
mkdir "$work/fsync"
fsync_us=$(for _ in $(seq 1 51); do
    dd if=/dev/zero of="$work/fsync/f" bs=16k count=1 conv=fsync 2>&1 | sed -n 's/.*copied, \([0-9.e-]*\) s.*/\1/p'
done | awk '{ printf "%d\n", $1 * 1000000 }' | median)
echo "fsync of 16 KiB, p50: $fsync_us us (absolute targets hold where it is at most 300 us)"

# serve DATA [flags…]: sets server, port, token
serve()
{
    local data=$1 url
    shift
    mkdir -m 700 "$data"
    "$program" serve --data "$data" --listen 127.0.0.1:0 "$@" 2>"$data.log" &
    server=$!
    while [ ! -s "$data/endpoint" ]; do sleep 0.05; done
    url=$(cat "$data/endpoint")
    port=${url##*:}
    token=$(cat "$data/admin.token")
    curl -sS --fail-with-body -o /dev/null -X PUT -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$url/v1/tables/bench" -d '{
      "schema":{"fields":[{"name":"id","type":"string","nullable":false},{"name":"n","type":"integer"},{"name":"name","type":"string"},
      {"name":"amount","type":"decimal(10,2)"},{"name":"day","type":"date"},{"name":"note","type":"string"}]},"key":["id"],
      "lookup":[{"entity":"member","column":"id","as":"member"}]}'
}

# The cost of jobs, on a server of its own.
bench_jobs()
{
    serve "$work/jobs" --outgoing-allow 127.0.0.1 --task-pools "slow=$long_runs"
    echo "== $jobs jobs a minute and $long_runs long runs beside 200 lookups/s and 2 batches of 100 rows/s"
    local code=0
    "$out/bench/bench_jobs" "$port" "$token" "$jobs" "$long_runs" "${BENCH_IDLE:-30}" "${BENCH_MARKS:-2}" >"$work/jobs.out" || code=$?
    sed 's/^/   /' "$work/jobs.out"
    of() { grep "\"what\":\"$1\"" "$work/jobs.out" | sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p"; }
    echo "   lookups p99 loaded/idle $(of loaded/idle lookup_p99), in the 10 s after a mark $(of marks/idle lookup_p99)" \
        "  batch lag loaded/idle p50 $(of loaded/idle batch_p50) p99 $(of loaded/idle batch_p99), after a mark p50 $(of marks/idle batch_p50) p99 $(of marks/idle batch_p99)"
    echo "   server: $(sed -n 's/^VmHWM:[^0-9]*//p' "/proc/$server/status") at most, processor $(awk '{ print ($14 + $15) / 100 }' "/proc/$server/stat") s"
    kill -TERM "$server"
    wait "$server" || code=$?
    [ -z "${BENCH_LOG:-}" ] || cp "$work/jobs.log" "$BENCH_LOG"
    server=""
    [ "$code" -eq 0 ] || { echo "bench_jobs: something went wrong, see above" >&2; exit 1; }
}

if [ "${2:-}" = jobs ]; then
    bench_jobs
    echo "machine: $(uptime | sed 's/.*load/load/')"
    exit 0
fi
serve "$work/data"
coproc NOTHING { "$out/bench/bench_nothing" 2; }
nothing=$NOTHING_PID
read -r nothing_port <&"${NOTHING[0]}"

echo "== bulk: $keys records over HTTP, two clients, until indexed"
ours=$(load load "$port" "$token" "$keys" | number per_second)
sqlite=$("$out/bench/bench_sqlite" "$work/sqlite" "$keys" 31 1000 | tee "$work/sqlite.out" | sed -n 1p | number per_second)
echo "   sluice $ours records/s (HTTP, JSON, Delta commit, index)   sqlite $sqlite rows/s (no HTTP, no JSON)"

echo "== upsert of 1,000 rows, 90 % hits, into $keys, durable and indexed, one client"
for _ in $(seq 1 "$rounds"); do load upsert "$port" "$token" 31 1000 "$keys"; done | tee "$work/upsert" | number p50_us | median >"$work/upsert.p50"
echo "   sluice p50 $(cat "$work/upsert.p50") us, p99 $(number p99_us <"$work/upsert" | median) us   sqlite p50 $(sed -n 2p "$work/sqlite.out" | number p50_us) us"

echo "== single records, 64 clients, durable acknowledgement"
load trickle "$port" "$token" 64 5 | sed 's/^/   /'

for clients in 1 16; do
    echo "== member lookup, $clients connections, beside a do-nothing libmicrohttpd handler"
    for _ in $(seq 1 "$rounds"); do
        load get "$port" "$token" $clients 2 /v1/members/k "$keys" >>"$work/get.$clients"
        load get "$nothing_port" "$token" $clients 2 /k "$keys" >>"$work/nothing.$clients"
    done
    a=$(number per_second <"$work/get.$clients" | median)
    b=$(number per_second <"$work/nothing.$clients" | median)
    echo "   sluice $a/s, p50 $(number p50_us <"$work/get.$clients" | median) us, p99 $(number p99_us <"$work/get.$clients" | median) us" \
        "  do-nothing $b/s, p50 $(number p50_us <"$work/nothing.$clients" | median) us   ratio $(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f", a / b }')"
done
if [ "$jobs" -gt 0 ]; then
    kill -TERM "$server"
    wait "$server" || true # its figures are there
    bench_jobs
fi
echo "machine: $(uptime | sed 's/.*load/load/')"
