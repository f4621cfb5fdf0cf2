#!/usr/bin/env bash
# Runs every fuzz target of the repository for a while: fuzz.sh [DURATION]
# As many run side by side as there are processors, each on one of them.
# A crasher is kept below the package's testdata/fuzz, where "go test" finds it
# from then on: commit it with the repair.
set -euo pipefail
cd "$(dirname "$0")/.."
export DURATION=${1:-10s} CORPUS
CORPUS=$(go env GOCACHE)/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each package is built once, for all of its targets.
jobs=()
while IFS= read -r file; do
	dir=$(dirname "$file")
	binary=$work/$(sed 's|^\.||; s|/|_|g' <<<"$dir").test
	[ -e "$binary" ] || go test -c -fuzz=. -o "$binary" "$dir"
	while read -r _ target; do
		jobs+=("$dir $binary $target")
	done < <(grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file")
done < <(find . -name node_modules -prune -o -name '*_test.go' -print | xargs grep -lE '^func Fuzz' | sort)

run() { # DIR BINARY TARGET: says all at its end, for others run beside it
	local said status try
	for try in 1 2 3; do
		status=0
		said=$(cd "$1" && "$2" -test.run='^$' -test.fuzz="^$3\$" -test.fuzztime="$DURATION" \
			-test.parallel=1 -test.fuzzcachedir="$CORPUS/postbox/$1" 2>&1) || status=$?
		printf 'fuzz %s %s for %s\n%s\n' "$1" "$3" "$DURATION" "$said"
		# Before Go 1.27 the end of the time may be told as a failure
		# (golang/go#75804), without an input to show for it: run again.
		if [ "$status" = 0 ] || grep -q 'Failing input written\|seed corpus entry' <<<"$said" ||
			! grep -q '^    context deadline exceeded$' <<<"$said"; then
			break
		fi
	done
	return "$status"
}
export -f run

printf '%s\n' "${jobs[@]}" | xargs -P "$(nproc)" -L 1 bash -c 'run "$@"' run
