# The only entry point. `make` lists the targets.

CARGO ?= cargo
DATA ?=
KEEP ?=
ONLY ?=
SEED ?=
EPOCHS ?= 6

.PHONY: help demo chaos test lint fmt bench contracts bindings tools build tour deny sim sim-long clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: build ## the main job, end to end, on a local chain (DATA=some/dir for your own files, KEEP=1 to leave it running)
	@KEEP=$(KEEP) target/release/assay-devnet demo $(if $(DATA),--data "$(DATA)")

chaos: build ## seven oracles on a local chain through kills, splits, lying RPCs, wrong clocks, full disks … (SEED=…, EPOCHS=… of 25 s, ONLY=kill,reorg)
	@target/release/assay-devnet chaos --seed $(or $(SEED),1) --epochs $(EPOCHS) $(if $(ONLY),--only $(ONLY))

test: build contracts ## every test: Rust, Solidity, real processes on a real chain
	$(CARGO) test --release --workspace --locked
	npm run --silent contracts:test
	npm run --silent contracts:check
	npm run --silent contracts:deploy-test

lint: tools ## formatting and lints, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings
	npm run --silent contracts:fmt

fmt: tools ## format everything
	$(CARGO) fmt --all
	npm run --silent contracts:fmt-write

bench: ## measure, and write target/bench/results.json and the table of docs/STORAGE.md (ONLY="grpc store" measures some subjects and writes nothing)
	$(CARGO) build --release --package assay-provider --package assay-builder --package assay-oracle --locked
	$(CARGO) bench --profile release --package assay-tests --bench figures --locked -- $(ONLY)

contracts: tools ## compile the contracts
	npm run --silent contracts:build

bindings: contracts ## write the committed ABI and bytecode anew
	npm run --silent contracts:export

tour: ## run the README's tour literally, as a newcomer would
	node tools/tour.mjs

sim: ## simulate the committee: one seed (SEED=0x1, with its trace), or a hundred
	$(CARGO) run --release --package assay-simulation --locked --bin assay-sim -- $(if $(SEED),--seed $(SEED) --trace,--runs 100)

sim-long: ## simulate 100,000 epochs
	$(CARGO) run --release --package assay-simulation --locked --bin assay-sim -- --runs 5000

deny: ## licences, sources and advisories of all dependencies (needs cargo-deny)
	$(CARGO) deny --locked check

build: tools ## build every binary
	$(CARGO) build --release --workspace --locked

tools: node_modules/.stamp ## fetch the pinned tools

node_modules/.stamp: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

clean: ## remove everything built
	rm -rf target node_modules contracts/out contracts/cache
