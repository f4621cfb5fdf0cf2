#!/usr/bin/env bash
# Measures devices that have missed much: bench-catch-up.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, has one device come back to MESSAGES, and DEVICES at once beside live
# senders, and writes docs/results/bench-catch-up.json. What it started it ends. Flags
# are those of "postbox bench catch-up"; the usual ones may be variables:
#
#   MESSAGES=100000    what the one has missed
#   DEVICES=50         how many return at once
#   BACKLOG=2000       what each of those has missed
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the result
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-catch-up.json}

# The generator writes more than a person, and connects all at once.
serve_with POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_CONNECT_RATE=0

"$work/postbox" bench catch-up --embedded-dir "$work/data" --server-pid "$pid" --messages "${MESSAGES:-100000}" \
	--devices "${DEVICES:-50}" --backlog "${BACKLOG:-2000}" --note limits.publish_rate=0 --note limits.connect_rate=0 --out "$out" "$@"
tell_commit "$out"
