#!/usr/bin/env bash
# Measures Postbox beside bare Mochi and mosquitto: bench.sh [FLAG...]
#
# Builds all, starts the three brokers on free ports of 127.0.0.1, gives them
# the same load in turn, prints every figure and the median ratios, and writes
# docs/results/bench-send.json. What it started it ends. Flags are those of
# "postbox bench compare"; the usual ones may be variables:
#
#   PAIRS=5     how often each broker takes its turn
#   SECONDS=20  length of a run
#   W=32 D=1    publishes on the way per sender, devices per recipient
#   DIR=...     where to put the database: a real disk (default: in /var/tmp)
#   OUT=...     where to write the result
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin

# In bash SECONDS is a clock, so its value is taken from the environment as it
# was given.
seconds=$(tr '\0' '\n' <"/proc/$$/environ" | sed -n 's/^SECONDS=//p')
seconds=${seconds:-20}
out=${OUT:-docs/results/bench-send.json}

if ! command -v mosquitto >/dev/null; then
	echo "scripts/bench.sh: mosquitto is missing: run scripts/deps.sh" >&2
	exit 1
fi

work=$(mktemp -d "${DIR:-/var/tmp}/postbox-bench-XXXXXX")
# Started by root, PostgreSQL runs as another account, which must get there.
chmod 755 "$work"
pids=()
end() {
	trap - EXIT INT TERM
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$work/postbox" ./cmd/postbox
go build -o "$work/baremochi" ./internal/bench/baremochi

start() { # NAME COMMAND...: sets pid; output in $work/NAME.out and NAME.err
	local name=$1
	shift
	"$@" >"$work/$name.out" 2>"$work/$name.err" &
	pid=$!
	pids+=("$pid")
}

await() { # NAME PID COMMAND...: until COMMAND succeeds; its output in answer
	local name=$1 pid=$2 i
	shift 2
	for ((i = 0; i < 600; i++)); do
		if answer=$("$@" 2>/dev/null) && kill -0 "$pid" 2>/dev/null; then return; fi
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	echo "scripts/bench.sh: $name did not start:" >&2
	tail -n 20 "$work/$name.err" >&2
	exit 1
}

address() { grep -oE 'mqtt=[^ ]+' "$work/$1.out" | head -n 1 | cut -d= -f2; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

start mochi "$work/baremochi" -addr 127.0.0.1:0
await mochi "$pid" address mochi
mochi=$answer/$pid

# mosquitto cannot be told to take a free port.
port=$((20000 + RANDOM % 20000))
while answers "$port" 2>/dev/null; do port=$((port + 1)); done
cat >"$work/mosquitto.conf" <<CONF
listener $port 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
log_type error
CONF
start mosquitto mosquitto -c "$work/mosquitto.conf"
await mosquitto "$pid" answers "$port"
mosquitto=127.0.0.1:$port/$pid

# The generator sends more than a person, from one address: no limit on publishes
# and on new connections.
start postbox env -u POSTBOX_CONFIG POSTBOX_LISTEN_MQTT=127.0.0.1:0 POSTBOX_LISTEN_HTTP=127.0.0.1:0 POSTBOX_LISTEN_PRIVATE=127.0.0.1:0 \
	POSTBOX_DATABASE_URL= POSTBOX_DATABASE_EMBEDDED_DIR="$work/data" POSTBOX_LIMITS_PUBLISH_RATE=0 POSTBOX_LIMITS_CONNECT_RATE=0 \
	"$work/postbox" serve
await postbox "$pid" address postbox
postbox=$answer/$pid

"$work/postbox" bench compare "postbox=$postbox" "mochi=$mochi" "mosquitto=$mosquitto" \
	--embedded-dir "$work/data" --create-users --password "bench-$RANDOM$RANDOM" --note "limits.publish_rate=0, limits.connect_rate=0" \
	--pairs "${PAIRS:-5}" --duration "${seconds}s" --window "${W:-32}" --devices "${D:-1}" --out "$out" "$@"
echo "written to $out"

# The result is for others: neither this machine's paths nor "unknown" in it.
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
sed -i -e "s#$work#.#g" -e "s/\"commit\": \"unknown\"/\"commit\": \"$commit\"/" "$out"
