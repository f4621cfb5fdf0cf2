#!/usr/bin/env bash
# Measures direct messages alone and in a mix: bench-mixed.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, sends RATE direct messages a second, alone and beside what else an app
# does, and writes docs/results/bench-mixed.json. What it started it ends. Flags
# are those of "postbox bench mixed"; the usual ones may be variables:
#
#   RATE=1000          direct messages per second
#   SECONDS=20         length of each of the two runs
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the result
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-mixed.json}

# The generator writes and asks more than a person, and connects all at once.
serve_with POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_CONNECT_RATE=0 POSTBOX_LIMITS_REQUEST_RATE=0

"$work/postbox" bench mixed --embedded-dir "$work/data" --server-pid "$pid" --rate "${RATE:-1000}" --duration "${seconds}s" \
	--note limits.publish_rate=0 --note limits.connect_rate=0 --note limits.request_rate=0 --out "$out" "$@"
tell_commit "$out"
