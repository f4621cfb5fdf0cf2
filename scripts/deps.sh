#!/usr/bin/env bash
# Makes sure that what the tests need is there: PostgreSQL, MariaDB, mosquitto and
# its clients, curl, jq, Node with npm, Chromium, a C compiler (for the race detector), MQTT.js,
# what the chat page is built with, and the programs of the oldest and the newest
# PostgreSQL.
#
# As root on Debian and its like it installs what is missing. As anybody else it
# installs nothing on the system: it ends with the one line to run.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin

if ! command -v go >/dev/null; then
	echo "scripts/deps.sh: Go is missing: install the version that go.mod names, or newer" >&2
	exit 1
fi

# Commands are looked for, not packages: they may have come another way.
missing=()
need() { # COMMAND PACKAGE...
	command -v "$1" >/dev/null || missing+=("${@:2}")
}
need git git
need make make
need gcc gcc libc6-dev
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
need curl curl
need jq jq
need mariadbd mariadb-server
need node nodejs
need npm npm
need chromium chromium
# Python with paho-mqtt: a module, which any of several Pythons may have; Debian's
# package is for its own.
for python in python3 /usr/bin/python3; do
	"$python" -c 'import paho.mqtt.client' 2>/dev/null && break
done || missing+=(python3 python3-paho-mqtt)

postgres() {
	command -v initdb && return
	local dir
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/lib*/postgresql*/bin /usr/local/pgsql/bin \
		/usr/libexec/postgresql* /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return
	done
	return 1
}
postgres >/dev/null || missing+=(postgresql)

install() {
	export DEBIAN_FRONTEND=noninteractive
	# The tests start their own servers. Unless the machine already says so,
	# keep the packages from starting theirs on the usual ports.
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	apt-get update -q
	apt-get install -yq --no-install-recommends "${missing[@]}"
}

if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		install
	elif command -v apt-get >/dev/null; then
		echo "scripts/deps.sh: run this first: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
		exit 1
	else
		echo "scripts/deps.sh: install what these Debian packages hold: ${missing[*]}" >&2
		exit 1
	fi
fi

# npm writes .package-lock.json when it is done, so a broken install is redone.
packages() { # DIRECTORY
	if [ ! -e "$1/node_modules/.package-lock.json" ] || [ "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]; then
		(cd "$1" && npm ci --ignore-scripts --loglevel=error)
	fi
}
packages internal/proof/js
packages web/page
# The oldest and the newest PostgreSQL that are supported.
if [ "$(uname -sm)" = "Linux x86_64" ]; then packages internal/proof/postgres; fi
