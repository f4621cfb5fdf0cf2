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
set -euo pipefail
cd "$(dirname "$0")/.."

# In bash SECONDS is a clock, so its value is taken from the environment as it
# was given.
seconds=$(tr '\0' '\n' <"/proc/$$/environ" | sed -n 's/^SECONDS=//p')
seconds=${seconds:-20}
out=${OUT:-docs/results/bench-history.json}

work=$(mktemp -d "${DIR:-/var/tmp}/postbox-bench-XXXXXX")
# Started by root, PostgreSQL runs as another account, which must get there.
chmod 755 "$work"
pid=
end() {
	trap - EXIT INT TERM
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$work/postbox" ./cmd/postbox

# The generator asks more than a person.
env -u POSTBOX_CONFIG POSTBOX_LISTEN_MQTT=127.0.0.1:0 POSTBOX_LISTEN_HTTP=127.0.0.1:0 POSTBOX_LISTEN_PRIVATE=127.0.0.1:0 \
	POSTBOX_DATABASE_URL= POSTBOX_DATABASE_EMBEDDED_DIR="$work/data" POSTBOX_LIMITS_REQUEST_RATE=0 \
	"$work/postbox" serve >"$work/out" 2>"$work/err" &
pid=$!
for ((i = 0; i < 600; i++)); do
	if grep -q 'http=' "$work/out"; then break; fi
	if ! kill -0 "$pid" 2>/dev/null; then break; fi
	sleep 0.1
done
if ! grep -q 'http=' "$work/out"; then
	echo "scripts/bench-history.sh: the server did not start:" >&2
	tail -n 20 "$work/err" >&2
	exit 1
fi

"$work/postbox" bench history --embedded-dir "$work/data" --messages "${MESSAGES:-10000000}" --users "${USERS:-1000}" \
	--duration "${seconds}s" --note limits.request_rate=0 --out "$out" "$@"
echo "written to $out"

commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
sed -i -e "s/\"commit\": \"unknown\"/\"commit\": \"$commit\"/" "$out"
