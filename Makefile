# Every target does its own set-up: `make demo` and `make test` run on a fresh clone with Python and Rust only.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python

FUZZ_SECONDS ?= 60
FUZZ ?= model --seconds $(FUZZ_SECONDS)
AUDIT ?= advisories bans licenses sources
BENCH ?=
FUZZER := cargo run --profile fuzz --quiet --package ancestral-core --example fuzz --

.PHONY: help demo test references statistics fuzz sanitize bench bench-quick bench-pytest lint audit format build wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/ready:
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip 'maturin>=1.9,<2'
	touch $@

.venv/built: .venv/ready pyproject.toml Cargo.toml Cargo.lock $(shell find rust -type f)
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[dev]'
	touch $@

build: .venv/built ## install everything into .venv and build the extension

demo: build ## train three models on real digits, score and sample them in Rust, draw pictures (about 5 minutes)
	$(BIN)/ancestral demo

test: build ## run every test: Rust, Python, documentation
	cargo test --release --quiet --package ancestral-core
	$(FUZZER) model --seconds 30
	$(FUZZER) compressed --seconds 30
	$(RUN) -m pytest

references: build ## write tests/references.json anew; what changes in it needs an entry in CHANGELOG.md
	$(RUN) tests/references.py --write

statistics: build ## test a billion random bits and 10⁸ random bytes as samples show them (some three minutes)
	$(RUN) tests/uniforms.py check

fuzz: ## damaged and hostile files for FUZZ_SECONDS (60) (also FUZZ='compressed --seconds 60'), or as FUZZ='model --seed 7 --executions 1000000' says
	$(FUZZER) $(FUZZ)

sanitize: ## the core's tests under AddressSanitizer (needs nightly Rust)
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --quiet --release --package ancestral-core --lib \
		--target $(shell rustc --print host-tuple) --target-dir target/sanitize

.venv/bench-ready: .venv/built
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[dev,bench]'
	touch $@

bench: .venv/bench-ready ## race torch, torch.compile, JAX and Numba; write the tables and figures of the documentation (about 20 minutes)
	$(RUN) -m benches run --out benches/results/latest.json
	$(RUN) -m benches report

bench-quick: .venv/bench-ready ## the same with fewer models, sizes and rounds, and print it only (two minutes)
	$(RUN) -m benches run --quick

bench-pytest: .venv/bench-ready ## the same as cases of pytest-benchmark, to be compared with another run's (up to 25 minutes; BENCH='-k rust --benchmark-autosave')
	$(RUN) -m pytest benches $(BENCH)

lint: build ## rustfmt, clippy, ruff, mypy --strict, stubtest
	cargo fmt --check
	cargo clippy --release --all-targets --quiet -- --deny warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(RUN) -m mypy.stubtest ancestral._core

target/tools/bin/cargo-deny:
	cargo install --quiet --locked --version 0.20.2 --root target/tools cargo-deny

audit: target/tools/bin/cargo-deny ## advisories, licences and sources of the Rust dependencies (AUDIT='bans licenses sources' without a network)
	$< check $(AUDIT)

format: build ## format all sources
	cargo fmt
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: .venv/ready ## build an abi3 wheel into dist/
	$(BIN)/maturin build --release --out dist

clean: ## remove what was built
	rm -rf target dist ancestral-demo .venv/built .venv/bench-ready
