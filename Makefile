# Everything that is done with this repository, by name. CI runs "make check".

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Debian keeps mosquitto where only root looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin

# Flags for "make run", such as ARGS="--config postbox.yaml".
ARGS ?=
# The faults for "make mutants", by name; all of them if none.
MUTANTS ?=
# The PostgreSQL that "make postgres-versions" runs on: 14 15 16 17 18 are there.
VERSIONS ?= 14 18
# Systems that "make platforms" builds for; darwin/amd64 and windows/arm64 do, too.
PLATFORMS ?= darwin/arm64 windows/amd64
# How long each fuzz target runs in "make check".
FUZZTIME ?= 10s

GOFILES = find . -name node_modules -prune -o -name '*.go' -print
TEST = CGO_ENABLED=1 go tool gotestsum --format pkgname --format-hide-empty-pkg \
	--jsonfile bin/test-events.json --post-run-command .ci/count --

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/postbox
	CGO_ENABLED=0 go build -trimpath -o bin/postbox ./cmd/postbox

.PHONY: run
run: ## serve with demo users on the embedded PostgreSQL, in ./postbox-data
	go run ./cmd/postbox serve --demo $(ARGS)

.PHONY: check
check: deps format vet lint guards platforms test postgres-versions fuzz ## all that CI checks, race detector included

.PHONY: deps
deps: ## find or install what the tests need
	scripts/deps.sh

.PHONY: format
format: ## fail if gofmt would change a file
	@wrong=$$($(GOFILES) | xargs gofmt -l); [ -z "$$wrong" ] || { echo "gofmt would change:" $$wrong; exit 1; }

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: lint
lint: ## staticcheck
	go tool staticcheck ./...

.PHONY: arch
arch: ## test who imports whom, and the habits of every file
	go test ./internal/archtest

.PHONY: cost
cost: ## test what a password costs without the race detector
	go test ./auth -run TestCostOfAHash

.PHONY: guards
guards: arch cost page-check ## arch, cost, page-check, and that go.mod is tidy and the modules are what go.sum says
	go mod tidy -diff
	go mod verify
	go -C internal/proof/pebble mod tidy -diff
	go -C examples/embed mod tidy -diff
	go -C internal/proof/pebble mod verify

.PHONY: page
page: ## build the chat page into web/page/dist, which is committed
	cd web/page && npm run build

.PHONY: page-check
page-check: ## check the chat page's types, and that web/page/dist is what its source makes
	cd web/page && npm run check

.PHONY: test
test: ## all tests, with the race detector, in random order
	@mkdir -p bin
	# The proofs take longest: the rest runs beside them.
	$(TEST) -race -shuffle=on -timeout 35m ./internal/proof ./...

.PHONY: platforms
platforms: ## build for other systems, those of PLATFORMS; on Windows without the embedded PostgreSQL
	for p in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/postbox; done

.PHONY: postgres-versions
postgres-versions: ## the tests of schema, store and supervisor, a kill and a resume, on each of VERSIONS
	scripts/postgres-versions.sh $(VERSIONS)

.PHONY: vulnerabilities
vulnerabilities: ## ask the Go vulnerability database about what is in the program; needs the network
	go tool govulncheck ./cmd/postbox ./client

.PHONY: image-test
image-test: ## build the container image with buildah and try it; as root on Debian, see scripts/image.sh
	scripts/image.sh

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: soak
soak: ## the long form of the proofs: hours
	@mkdir -p bin
	scripts/postgres-versions.sh
	POSTBOX_TEST_SOAK=1 $(TEST) -count=1 -timeout 6h ./internal/proof/...
	POSTBOX_TEST_SOAK=1 $(TEST) -count=1 -timeout 2h -run='^TestMillionPackets$$' ./broker

.PHONY: e2e
e2e: ## all stories at the chat page in a browser, with pictures of it in bin/page
	POSTBOX_TEST_SOAK=1 $(TEST) -count=1 -timeout 30m -run='^TestChatPage$$' ./internal/proof

.PHONY: mutants
mutants: ## show that the model test finds each fault of internal/proof/mutants in a minute; MUTANTS names some
	go run ./internal/proof/mutants/run $(MUTANTS)

.PHONY: bench
bench: ## postbox, bare Mochi and mosquitto in turn; PAIRS, SECONDS, W, D in the environment
	scripts/bench.sh

.PHONY: bench-room
bench-room: ## a room of 1,000 members, and direct messages beside it; MEMBERS, ONLINE, SECONDS in the environment
	scripts/bench-room.sh

.PHONY: bench-history
bench-history: ## fill a database and read history over HTTP; MESSAGES, SECONDS in the environment
	scripts/bench-history.sh

.PHONY: bench-search
bench-search: ## fill a database, search over HTTP, and send beside the indexer; MESSAGES, SECONDS in the environment
	scripts/bench-search.sh

.PHONY: bench-connect
bench-connect: ## idle connections beside bare Mochi, and their return; CONNECTIONS, ROUNDS, KILL in the environment
	scripts/bench-connect.sh

.PHONY: bench-catch-up
bench-catch-up: ## a device that has missed much, and many beside senders; MESSAGES, DEVICES, BACKLOG in the environment
	scripts/bench-catch-up.sh

.PHONY: bench-mixed
bench-mixed: ## direct messages at a rate, alone and in an app's mix; RATE, SECONDS in the environment
	scripts/bench-mixed.sh

.PHONY: bench-report
bench-report: ## draw docs/results/*.json as bin/report.html
	@mkdir -p bin
	go run ./cmd/postbox bench report docs/results/*.json --out bin/report.html

.PHONY: clean
clean: ## remove what was built and installed here; data stays
	rm -rf bin web/page/node_modules internal/proof/js/node_modules internal/proof/postgres/node_modules internal/proof/postgres/between/node_modules
