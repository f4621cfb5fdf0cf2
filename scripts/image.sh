#!/usr/bin/env bash
# Builds the Dockerfile for real and tries the image: against a PostgreSQL on the
# loopback address, as the user that the image names, with a message from one
# device to another, the health check and SIGTERM.
#
# It needs no container engine that runs: buildah builds, in a chroot. The image
# that the Dockerfile begins with is made here too, out of Debian's packages and
# the Go that is installed. As root on Debian, once:
#
#   apt-get install -y --no-install-recommends buildah debootstrap mosquitto-clients postgresql
#
#   KEEP=1  keeps the image as localhost/postbox (buildah images)
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

die() { echo "scripts/image.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "run it as root: a chroot needs that"
for program in buildah debootstrap mosquitto_sub mosquitto_pub go; do
	command -v "$program" >/dev/null ||
		die "$program is missing: apt-get install -y --no-install-recommends buildah debootstrap mosquitto-clients postgresql"
done
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || die "PostgreSQL is missing: apt-get install -y postgresql"

# What takes long is kept between runs, and may be deleted at any time.
cache=${XDG_CACHE_HOME:-/var/cache}/postbox-image
work=$(mktemp -d /var/tmp/postbox-image-XXXXXX)
chmod 755 "$work"
pids=() containers=()
end() {
	trap - EXIT INT TERM
	local x
	for x in "${pids[@]}"; do kill "$x" 2>/dev/null || true; done
	[ ! -e "$work/data/postmaster.pid" ] || runuser -u postgres -- "$bin/pg_ctl" stop -D "$work/data" -m immediate >/dev/null || true
	for x in "${containers[@]}"; do buildah rm "$x" >/dev/null 2>&1 || true; done
	[ -n "${KEEP:-}" ] || buildah rmi localhost/postbox >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The unit is packaging too. systemd looks for the program, which is not installed.
if command -v systemd-analyze >/dev/null; then
	sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' configs/postbox.service >"$work/postbox.service"
	said=$(systemd-analyze verify "$work/postbox.service" 2>&1) && [ -z "$said" ] || die "configs/postbox.service: $said"
	echo "configs/postbox.service: systemd finds no fault"
fi

step() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

# The first image: the name in the Dockerfile, found in the local store.
from=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' Dockerfile)
if ! buildah inspect --type image "localhost/$from" >/dev/null 2>&1; then
	step "making $from"
	suite=${from##*-}
	if [ ! -e "$cache/$suite.tar" ]; then
		mkdir -p "$cache"
		debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/tree" >"$work/debootstrap.log" 2>&1 ||
			die "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
		tar -C "$work/tree" --one-file-system -cf "$cache/$suite.tar.new" .
		mv "$cache/$suite.tar.new" "$cache/$suite.tar"
		rm -rf "$work/tree"
	fi
	base=$(buildah from scratch)
	containers+=("$base")
	buildah add -q "$base" "$cache/$suite.tar" / >/dev/null
	buildah add -q "$base" "$(go env GOROOT)" /usr/local/go >/dev/null
	buildah config --env GOPATH=/go --env GOTOOLCHAIN=local \
		--env PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
	buildah commit -q "$base" "localhost/$from" >/dev/null
fi

# Modules and compiled packages are those of this machine, so that the build
# fetches nothing and is quick the second time.
go mod download
mkdir -p "$(go env GOCACHE)"
step "building the Dockerfile"
buildah bud -q --format docker --pull-never --volume "$(go env GOMODCACHE):/go/pkg/mod" \
	--volume "$(go env GOCACHE):/root/.cache/go-build" -t localhost/postbox . >/dev/null
size=$(buildah images --format '{{.Size}}' localhost/postbox)
step "built: $size"

config() { buildah inspect --type image --format "{{$1}}" localhost/postbox; }
[ "$(config .Docker.Config.User)" = 65532:65532 ] || die "the image does not name user 65532"
[ "$(config .Docker.Config.Entrypoint)$(config .Docker.Config.Cmd)" = "[/usr/local/bin/postbox][serve]" ] || die "the image does not start postbox serve"
[ "$(config '.Docker.Config.Healthcheck.Test')" = "[CMD /usr/local/bin/postbox health]" ] || die "the image has no health check"

container=$(buildah from --pull-never localhost/postbox)
containers+=("$container")
inside() { buildah run --user 65532:65532 "${env[@]}" "$container" -- /usr/local/bin/postbox "$@"; }

env=()
if inside serve >"$work/none.out" 2>&1; then die "it starts without a database"; fi
grep -q POSTBOX_DATABASE_URL "$work/none.out" || die "without a database it says: $(cat "$work/none.out")"
step "without a database: $(grep POSTBOX_DATABASE_URL "$work/none.out")"

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port() { # NAME: sets it to a port that is free now
	local p=$((20000 + RANDOM % 12000))
	while answers $p; do p=$((p + 1)); done
	printf -v "$1" %s "$p"
}
port pgport; port mqtt; port http; port private
secret=$RANDOM$RANDOM$RANDOM
install -d -o postgres -m 700 "$work/data"
install -o postgres -m 600 <(echo "$secret") "$work/secret"
runuser -u postgres -- "$bin/initdb" -D "$work/data" -U postbox -A scram-sha-256 --pwfile="$work/secret" -E UTF8 --locale=C >/dev/null
runuser -u postgres -- "$bin/pg_ctl" start -w -D "$work/data" -l "$work/data/log" -o "-p $pgport -h 127.0.0.1 -k $work/data" >/dev/null
step "PostgreSQL takes connections"

env=(
	--env "POSTBOX_DATABASE_URL=postgres://postbox:$secret@127.0.0.1:$pgport/postgres?sslmode=disable"
	--env "POSTBOX_LISTEN_MQTT=0.0.0.0:$mqtt" --env "POSTBOX_LISTEN_HTTP=0.0.0.0:$http" --env "POSTBOX_LISTEN_PRIVATE=127.0.0.1:$private"
)
inside serve >"$work/serve.out" 2>"$work/serve.err" &
server=$!
pids+=("$server")
await() { # WHAT COMMAND...
	local what=$1 i
	shift
	for ((i = 0; i < 300; i++)); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	cat "$work/serve.out" "$work/serve.err" >&2
	die "$what did not happen within a minute"
}
await "listening" grep -q '^listening ' "$work/serve.out"
await "postbox health" inside health
step "healthy: $(inside health), $(cat "$work/serve.out")"

below() { # PID: the process below it that is postbox
	local child
	for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
		if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = postbox ]; then echo "$child"; else below "$child"; fi
	done
}
process=$(below "$server")
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$process/status")" = 65532 ] || die "it does not run as user 65532"

for name in alice bob; do echo "$name's secret" | inside user add $name --password-stdin >/dev/null; done
mosquitto_sub -p "$mqtt" -V 311 -q 1 -c -i phone -u bob -P "bob's secret" -t inbox/bob -C 1 -W 60 >"$work/got" &
phone=$!
pids+=("$phone")
subscribed() { PGPASSWORD=$secret "$bin/psql" -h 127.0.0.1 -p "$pgport" -U postbox postgres -Atc "SELECT 1 FROM postbox.subscriptions WHERE filter = 'inbox/bob'" | grep -q 1; }
await "the subscription" subscribed
mosquitto_pub -p "$mqtt" -V 311 -q 1 -i laptop -u alice -P "alice's secret" -t inbox/bob -m 'out of a container'
wait "$phone" || die "no message arrived"
grep -q '"body":"out of a container"' "$work/got" || die "this arrived: $(cat "$work/got")"
step "a message arrived"

kill -TERM "$process"
began=$SECONDS code=0
wait "$server" || code=$?
[ "$code" = 0 ] && [ $((SECONDS - began)) -le 10 ] || die "after SIGTERM it ended with $code, after $((SECONDS - began)) s"
step "ended by SIGTERM with 0 after $((SECONDS - began)) s"
echo "image test passed: $size, as user 65532"
