#!/usr/bin/env bash
# The demo: serve an empty data directory, create the four pharmacy tables through
# the API, generate a realistic data set, post it, look members up.
#
#   tests/demo/demo.sh PROGRAM        keeps serving until Ctrl-C
#   DEMO_ONCE=1 …                     ends with exit code 0 after the tour
#   DEMO_SCALE=10 …                   a tenth of the records
set -euo pipefail

program=$1
here=$(cd "$(dirname "$0")" && pwd)
scale=${DEMO_SCALE:-1}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-demo.XXXXXX")
data=$work/data
log=$work/log
server=""

finish()
{
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 0' INT TERM

api()
{
    curl -sS --fail-with-body -X "$1" -H "Authorization: Bearer $token" "$url$2" "${@:3}"
}

# The number behind a member of flat JSON, without needing more tools.
number_of()
{
    sed -n "s/.*\"$1\":\([0-9][0-9]*\).*/\1/p" | head -n 1
}

milliseconds()
{
    awk -v seconds="$1" 'BEGIN { printf "%.2f", seconds * 1000 }'
}

echo "== serving an empty data directory"
mkdir -m 700 "$data"
"$program" serve --data "$data" --listen 127.0.0.1:0 2>"$log" &
server=$!
for _ in $(seq 1 200); do
    [ ! -s "$data/endpoint" ] || break
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.05
done
url=$(cat "$data/endpoint")
token=$(cat "$data/admin.token")
echo "   $url"

echo "== creating the tables through the API"
for table in formulary members eligibility prescriptions; do
    api PUT "/v1/tables/$table" -H 'Content-Type: application/json' \
        --data-binary "@$here/tables/$table.json" >/dev/null
    echo "   $table"
done

echo "== generating records (fixed seed, some broken on purpose)"
"$program" generate --out "$work/records" --members $((100000 / scale)) --eligibility $((110000 / scale)) \
    --prescriptions $((500000 / scale)) --formulary $((2000 / scale > 0 ? 2000 / scale : 1)) | sed 's/^/   /; s/:[^:]*$//'

echo "== posting them"
records=0
started=$(date +%s%N)
for table in formulary members eligibility prescriptions; do
    "$program" batch post "$work/records/$table.ndjson" --table "$table" --url "$url" \
        --token-file "$data/admin.token" --wait
    records=$((records + $(wc -l <"$work/records/$table.ndjson")))
done
ended=$(date +%s%N)
echo "   $records records posted, merged and indexed: $((records * 1000000000 / (ended - started))) records/s"

echo "== tables"
for table in formulary members eligibility prescriptions; do
    answer=$(api GET "/v1/tables/$table")
    printf '   %-14s version %s, %s rows in %s files\n' "$table" "$(number_of version <<<"$answer")" \
        "$(number_of rows <<<"$answer")" "$(number_of files <<<"$answer")"
done

echo "== five member lookups on one connection, after one to warm up"
lookups=()
for member in M000000007 M000000001 M000000042 M000000123 M000000777 M000000999; do
    lookups+=(-o "$work/$member" "$url/v1/members/$member")
done
curl -sS -H "Authorization: Bearer $token" -w '%{url_effective} %{time_total} %{size_download}\n' "${lookups[@]}" |
    tail -n 5 | while read -r address seconds bytes; do
    member=${address##*/}
    printf '   %s: %s bytes, %s prescriptions, %s ms\n' "$member" "$bytes" \
        "$(grep -o '"prescription_id"' "$work/$member" | wc -l)" "$(milliseconds "$seconds")"
done

echo "== dead letters of prescriptions, by reason"
api GET '/v1/dead-letters?table=prescriptions&limit=10000' | grep -o '"code":"[a-z_0-9]*"' | sort | uniq -c |
    sed 's/^ */   /; s/"code"://'

cat <<TOUR
== try

   TOKEN=\$(cat $data/admin.token)
   curl -H "Authorization: Bearer \$TOKEN" $url/v1/members/M000000042
   curl -H "Authorization: Bearer \$TOKEN" '$url/v1/tables/prescriptions/rows?limit=3'
   curl -H "Authorization: Bearer \$TOKEN" '$url/v1/dead-letters?limit=3'
   curl -H "Authorization: Bearer \$TOKEN" $url/v1/tables/members/history
   open $url/docs

TOUR

if [ "${DEMO_ONCE:-0}" = 1 ]; then
    exit 0
fi
echo "serving until Ctrl-C; the log is $log"
wait "$server"
