#!/usr/bin/env bash
# Measures idle connections, and a storm of those that come back: bench-connect.sh [FLAG...]
#
# Builds and starts a server on an embedded PostgreSQL and free ports of
# 127.0.0.1, and bare Mochi with the same queue for writes, and has them take turns: by
# TCP, then by WebSocket. Writes docs/results/bench-connect.json and
# bench-connect-ws.json. What it started it ends. Flags are those of "postbox bench
# connect"; the usual ones may be variables:
#
#   CONNECTIONS=10000  how many; each is an open file here and at the server (ulimit -n)
#   ROUNDS=1           how often each broker takes its turn
#   KILL=1             besides, kill the server under its connections, and start it
#                      again: docs/results/bench-connect-kill.json
#   DIR=...            where to put the database: a real disk (default: in /var/tmp)
#   OUT=...            where to write the results, without .json
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/bench-server.sh
out=${OUT:-docs/results/bench-connect}
connections=${CONNECTIONS:-10000}
limits=(POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_CONNECT_RATE=0)
notes=(--note limits.publish_rate=0 --note limits.connect_rate=0 --note "bare Mochi with MaximumClientWritesPending 64, as Postbox has it")

ulimit -n "$((connections + 1000))" 2>/dev/null || true # if more are needed, the command says so
go build -o "$work/baremochi" ./internal/bench/baremochi

ports=$(free_ports 2)
ws=127.0.0.1:${ports% *} profiles=127.0.0.1:${ports#* }

# A process that has had many connections keeps memory: each run has new ones.
begin() {
	if [ -n "$pid" ]; then
		kill "$mochi" "$pid"
		wait "$mochi" "$pid" || true
	fi
	: >"$work/mochi.out"
	"$work/baremochi" -addr 127.0.0.1:0 -ws "$ws" -pprof "$profiles" -writes 64 >"$work/mochi.out" 2>"$work/mochi.err" &
	mochi=$!
	others=("$mochi")
	serve_with "${limits[@]}"
	await "$mochi" "$work/mochi.out" 'mqtt='
}

run() { # OUT POSTBOX MOCHI FLAG...
	local to=$1 ours=$2 theirs=$3
	shift 3
	"$work/postbox" bench connect "postbox=$ours,pid=$pid,heap=http://$(told private)/debug/pprof/heap" \
		"mochi=$theirs,pid=$mochi,heap=http://$profiles/debug/pprof/heap" \
		--embedded-dir "$work/data" --connections "$connections" --rounds "${ROUNDS:-1}" "${notes[@]}" --out "$to" "$@"
	tell_commit "$to"
}
begin
run "$out.json" "$(told mqtt)" "$(sed -n 's/.*mqtt=//p' "$work/mochi.out")" "$@"
begin
run "$out-ws.json" "ws://$(told http)/mqtt" "ws://$ws/" "$@"

[ -n "${KILL:-}" ] || exit 0
kill "$pid" && wait "$pid" || true
fixed=$(free_ports 1)
serve_with "${limits[@]}" POSTBOX_LISTEN_MQTT="127.0.0.1:$fixed"
first=$pid
"$work/postbox" bench connect "postbox=127.0.0.1:$fixed,pid=$pid" --kill --embedded-dir "$work/data" --connections "$connections" \
	"${notes[@]}" --out "$out-kill.json" "$@" &
load=$!
others+=("$load")
wait -n "$first" "$load" || true
if ! kill -0 "$load" 2>/dev/null; then # it ended before it killed
	wait "$load"
	exit 1
fi
serve_with "${limits[@]}" POSTBOX_LISTEN_MQTT="127.0.0.1:$fixed"
wait "$load"
tell_commit "$out-kill.json"
