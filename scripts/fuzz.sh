#!/usr/bin/env bash
# Runs every fuzz target of the repository for a while: fuzz.sh [DURATION]
# A crasher is kept below the package's testdata/fuzz, where "go test" finds it
# from then on: commit it with the repair.
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${1:-10s}

find . -name node_modules -prune -o -name '*_test.go' -print | sort | while IFS= read -r file; do
	{ grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" || true; } | while read -r _ target; do
		echo "fuzz $(dirname "$file") $target for $duration"
		go test -run='^$' -fuzz="^$target\$" -fuzztime="$duration" "$(dirname "$file")" </dev/null
	done
done
