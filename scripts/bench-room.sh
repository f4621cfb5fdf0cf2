#!/usr/bin/env bash
# Measures a large room, and direct messages beside it: bench-room.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, makes a room in it, writes there, and writes
# docs/results/bench-room.json. What it started it ends. Flags are those of
# "postbox bench room"; the usual ones may be variables:
#
#   MEMBERS=1000       members of the room
#   ONLINE=200         how many of them have a device connected
#   SECONDS=20         length of each window
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the result
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-room.json}

# The generator writes more than a person, and connects all at once.
serve_with POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_CONNECT_RATE=0

"$work/postbox" bench room --embedded-dir "$work/data" --members "${MEMBERS:-1000}" --online "${ONLINE:-200}" \
	--duration "${seconds}s" --note limits.publish_rate=0 --note limits.connect_rate=0 --out "$out" "$@"
tell_commit "$out"
