#!/usr/bin/env bash
# Measures how fast history is read: bench-history.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, fills it, reads pages over HTTP, and writes
# docs/results/bench-history.json. What it started it ends. Flags are those of
# "postbox bench history"; the usual ones may be variables:
#
#   MESSAGES=10000000  how many messages to read in
#   USERS=1000         whose they are; each has 20 conversations
#   SECONDS=20         length of a run
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the result
#   SHARED_BUFFERS=... PostgreSQL's memory for what is read, such as 3GB; it should be
#                      in huge pages (sysctl vm.nr_hugepages=1650)
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-history.json}

# The generator asks more than a person.
serve_with POSTBOX_LIMITS_REQUEST_RATE=0
notes=(--note limits.request_rate=0)
if [ -n "${SHARED_BUFFERS:-}" ]; then
	kill "$pid"
	wait "$pid" || true
	echo "shared_buffers = $SHARED_BUFFERS" >>"$work/data/pgdata/postgresql.conf"
	serve_with POSTBOX_LIMITS_REQUEST_RATE=0
	notes+=(--note "shared_buffers=$SHARED_BUFFERS")
fi

"$work/postbox" bench history --embedded-dir "$work/data" --messages "${MESSAGES:-10000000}" --users "${USERS:-1000}" \
	--server-pid "$pid" --duration "${seconds}s" "${notes[@]}" --out "$out" "$@"
tell_commit "$out"
