# A server for a benchmark, to be sourced at the top of the repository: on an
# embedded PostgreSQL and free ports of 127.0.0.1, with the settings that serve_with is
# given as POSTBOX_…=…. It sets
#
#   seconds   SECONDS as it was given: in bash that is a clock; 20 if it was not
#   work      a directory with the program (postbox), the data, out and err
#   pid       of the server
#   others    more processes that end with the script
#
# What it started ends with the script.
seconds=$(tr '\0' '\n' <"/proc/$$/environ" | sed -n 's/^SECONDS=//p')
seconds=${seconds:-20}

work=$(mktemp -d "${DIR:-/var/tmp}/postbox-bench-XXXXXX")
# Started by root, PostgreSQL runs as another account, which must get there.
chmod 755 "$work"
pid=
others=()
end() {
	trap - EXIT INT TERM
	local one
	for one in $pid "${others[@]}"; do
		kill "$one" 2>/dev/null || true
		wait "$one" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$work/postbox" ./cmd/postbox

# serve_with starts the server and waits until it listens.
serve_with() {
	local fresh=
	[ -e "$work/data" ] || fresh=1
	: >"$work/out" # not what another one has printed
	env -u POSTBOX_CONFIG POSTBOX_LISTEN_MQTT=127.0.0.1:0 POSTBOX_LISTEN_HTTP=127.0.0.1:0 POSTBOX_LISTEN_PRIVATE=127.0.0.1:0 \
		POSTBOX_DATABASE_URL= POSTBOX_DATABASE_EMBEDDED_DIR="$work/data" "$@" \
		"$work/postbox" serve >"$work/out" 2>"$work/err" &
	pid=$!
	await "$pid" "$work/out" 'http='
	if [ -n "$fresh" ]; then
		age
		# What was built and initialized the system would write half a minute later, and
		# commits would wait for that.
		sync
	fi
}

# age gives the database a log like that of one which has been there for a while. In
# a new one each file of the log, 16 MB, is made when it is needed, and all commits
# wait; later those of before are used again.
age() {
	local postmaster psql i
	postmaster=$(head -n 1 "$work/data/pgdata/postmaster.pid")
	psql=$(dirname "$(readlink "/proc/$postmaster/exe")")/psql
	if [ ! -x "$psql" ]; then
		echo "$0: there is no $psql: the database begins with a new log, which is slower" >&2
		return
	fi
	{
		for ((i = 0; i < 40; i++)); do
			echo 'SELECT txid_current(); SELECT pg_switch_wal();'
		done
		echo 'CHECKPOINT;'
	} | "$psql" -h "$work/data/run" -U postbox -d postbox -X -q -o /dev/null -v ON_ERROR_STOP=1 ||
		echo "$0: the database begins with a new log, which is slower" >&2
}

# await PID FILE WORD waits until a server has printed a word.
await() {
	local i
	for ((i = 0; i < 600; i++)); do
		if grep -q "$3" "$2"; then return; fi
		if ! kill -0 "$1" 2>/dev/null; then break; fi
		sleep 0.1
	done
	echo "$0: the server did not start:" >&2
	tail -n 20 "${2%out}err" >&2
	exit 1
}

# told NAME is an address that the server has printed, without http://.
told() { sed -n "s#.*\\b$1=\\(http://\\)\\?\\([^ ]*\\).*#\\2#p" "$work/out" | head -n 1; }

# free_ports N are ports that nobody listens on; another may be faster.
free_ports() {
	local found=() port=$((20000 + RANDOM % 10000))
	while [ "${#found[@]}" -lt "$1" ]; do
		port=$((port + 1))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
	done
	echo "${found[*]}"
}

# tell_commit puts the commit into a result, and takes this machine's paths out.
tell_commit() {
	echo "written to $1"
	sed -i -e "s#$work#.#g" -e "s/\"commit\": \"unknown\"/\"commit\": \"$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)\"/" "$1"
}
