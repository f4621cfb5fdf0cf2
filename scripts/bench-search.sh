#!/usr/bin/env bash
# Measures how fast messages are found: bench-search.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, fills it, searches over HTTP, and writes
# docs/results/bench-search.json. Then it sends as fast as it goes for a while, and
# prints how far the index was behind. What it started it ends. Flags are those of
# "postbox bench search"; the usual ones may be variables:
#
#   MESSAGES=1000000   how many messages to search in
#   SECONDS=20         how long to send, 0 for not at all
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the result
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-search.json}

# The generator asks more than a person.
serve_with POSTBOX_LIMITS_REQUEST_RATE=0 POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_PACKET_RATE=0

"$work/postbox" bench search --embedded-dir "$work/data" --messages "${MESSAGES:-1000000}" \
	--server-pid "$pid" --note limits.request_rate=0 --out "$out" "$@"
tell_commit "$out"

[ "$seconds" -gt 0 ] || exit 0
private=$(told private)
"$work/postbox" bench send --embedded-dir "$work/data" --create-users --warm-up 2s --password load-test --duration "${seconds}s" >"$work/sent" &
load=$!
most=0
while kill -0 "$load" 2>/dev/null; do
	lag=$(curl -fsS "http://$private/metrics" | sed -n 's/^postbox_search_lag_seconds //p')
	most=$(awk -v a="$most" -v b="$lag" 'BEGIN { print (b > a ? b : a) }')
	sleep 0.5
done
wait "$load" || true
cat "$work/sent"
echo "the search index was at most $most s behind meanwhile"
