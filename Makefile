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
# How long each fuzz target runs in "make check".
FUZZTIME ?= 10s

GOFILES = find . -name node_modules -prune -o -name '*.go' -print
TEST = CGO_ENABLED=1 go tool gotestsum --format pkgname --format-hide-empty-pkg \
	--post-run-command .ci/count --

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/postbox
	CGO_ENABLED=0 go build -trimpath -o bin/postbox ./cmd/postbox

.PHONY: run
run: ## serve with demo users on the embedded PostgreSQL, in ./postbox-data
	go run ./cmd/postbox serve --demo $(ARGS)

.PHONY: check
check: deps format vet lint guards test fuzz ## all that CI checks, race detector included

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

.PHONY: guards
guards: arch ## arch, and that go.mod is tidy and the modules are what go.sum says
	go mod tidy -diff
	go mod verify
	go -C internal/proof/pebble mod tidy -diff
	go -C internal/proof/pebble mod verify

.PHONY: test
test: ## all tests, with the race detector, in random order
	$(TEST) -race -shuffle=on -timeout 20m ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: soak
soak: ## the long form of the proofs: hours
	POSTBOX_TEST_SOAK=1 $(TEST) -count=1 -timeout 6h ./internal/proof/...

.PHONY: mutants
mutants: ## show that the model test finds each fault of internal/proof/mutants in a minute; MUTANTS names some
	go run ./internal/proof/mutants/run $(MUTANTS)

.PHONY: bench
bench: ## postbox, bare Mochi and mosquitto in turn; PAIRS, SECONDS, W, D in the environment
	scripts/bench.sh

.PHONY: clean
clean: ## remove what was built and installed here; data stays
	rm -rf bin internal/proof/js/node_modules
