# Seaworthy. `make help` lists what there is; each CI job is one of these targets.
#
# Needs Rust (rustup reads rust-toolchain.toml), a C compiler, and Python 3.9 or newer with pip. All that is fetched or
# built goes into target/.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo
PYTHON ?= python3
# What `make run` serves: a directory, a name, or name@version; empty is the default model of config/default.toml.
MODEL ?=
IMAGE ?= seaworthy
DOCKER_BUILD_FLAGS ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV_PYTHON := target/venv/bin/python
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)
CARGO_DENY_VERSION := 0.20.2

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: onnxruntime ## Serve MODEL (default: house-prices) on PORT (default: 8080)
	$(CARGO) run --release --locked -- serve $(MODEL)

.PHONY: test
test: onnxruntime venv venv-2023 ## Run all tests: Rust, then Python with the libraries of today and of 2023
	$(CARGO) test --locked
	cd python && ../$(VENV_PYTHON) -m pytest
	@if test -x target/venv-2023/bin/python; then \
	  cd python && ../target/venv-2023/bin/python -m pytest; \
	else echo "The libraries of 2023 run on Python 3.9 to 3.11 only, so their tests are left out here."; fi

CASES ?= 200
PIPELINES ?= 500
SEED ?= 0
PARITY := -m parity --cases $(CASES) --pipelines $(PIPELINES) --seed $(SEED) --results ../target/parity

.PHONY: parity
parity: onnxruntime venv venv-2023 ## Compare every transformer with the original, on CASES random cases; write the table
	$(CARGO) build --locked
	@if test -x target/venv-2023/bin/python; then cd python && ../target/venv-2023/bin/python $(PARITY); \
	else echo "The libraries of 2023 run on Python 3.9 to 3.11 only, so the table is left as it is."; fi
	cd python && ../$(VENV_PYTHON) $(PARITY) --table ../docs/transformers.md

.PHONY: smoke
smoke: onnxruntime ## Start the debug build, compare golden rows over HTTP, stop it
	$(CARGO) build --locked
	$(PYTHON) scripts/smoke.py $(TARGET)/debug/seaworthy

.PHONY: schemathesis
schemathesis: onnxruntime ## Start the debug build, ask it what its OpenAPI document allows and forbids, check the answers
	$(CARGO) build --locked
	@$(PYTHON) scripts/venv.py target/venv-schemathesis --requirements tests/schemathesis/requirements.txt
	target/venv-schemathesis/bin/python tests/schemathesis/run.py $(TARGET)/debug/seaworthy

.PHONY: check
check: fmt clippy doc python-lint deny ## Check format, lints, documentation and dependencies

.PHONY: fmt
fmt:
	$(CARGO) fmt --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --all-targets -- --deny warnings

.PHONY: doc
doc:
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --no-deps

# Paths from the folder, since its pyproject.toml configures the tools.
.PHONY: python-lint
python-lint: venv
	cd python && ../target/venv/bin/ruff check . && ../target/venv/bin/ruff format --check . && ../target/venv/bin/mypy

# Compiling cargo-deny takes minutes: only `make tools` does it, and CI, which keeps it.
.PHONY: deny
deny:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; \
	else echo "cargo-deny is not installed, so dependencies are not checked; \`make tools\` compiles it"; fi

.PHONY: tools
tools: ## Compile cargo-deny into target/tools, for `make check`
	@command -v cargo-deny >/dev/null || \
	$(CARGO) install --locked --root "$(TOOLS)" --version $(CARGO_DENY_VERSION) cargo-deny

.PHONY: models
models: ## Train the models again and write their artifacts into models/
	$(PYTHON) python/make_models.py

BENCH_FLAGS ?=

# Where cargo has put the benchmark of this name.
bench-binary = $$($(CARGO) bench --no-run --locked --bench $(1) --message-format json 2>/dev/null | \
  sed -n 's/.*"name":"$(1)".*"executable":"\([^"]*\)".*/\1/p')

.PHONY: bench
bench: onnxruntime ## Compare the release build with a bare echo server, measure memory; write docs/benchmarks.md (needs wrk)
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --bench floor --bench drive
	$(PYTHON) scripts/bench.py --server $(TARGET)/release/seaworthy \
	  --floor "$(call bench-binary,floor)" --drive "$(call bench-binary,drive)" $(BENCH_FLAGS)

.PHONY: bench-stages
bench-stages: onnxruntime ## Measure decoding, pipeline, session, postprocessing, answer and log one by one
	ORT_DISABLE_TELEMETRY=1 $(CARGO) bench --locked --bench stages

.PHONY: bench-peers
bench-peers: ## Compare with FastAPI, MLServer, BentoML and LitServe, which are installed into target/ (needs wrk)
	$(CARGO) build --release --locked
	$(PYTHON) scripts/bench_peers.py --server $(TARGET)/release/seaworthy $(BENCH_FLAGS)

.PHONY: image
image: ## Build the container image IMAGE (default: seaworthy) and try it
	docker build $(DOCKER_BUILD_FLAGS) --tag $(IMAGE) \
	  --build-arg RUST_VERSION=$(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) \
	  --build-arg VERSION=$(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q;}' Cargo.toml) \
	  --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) .
	$(PYTHON) scripts/smoke.py --image $(IMAGE)

.PHONY: onnxruntime
onnxruntime:
	@$(PYTHON) scripts/fetch_onnxruntime.py

.PHONY: venv
venv:
	@$(PYTHON) scripts/venv.py target/venv --requirements python/requirements.txt --requirements python/requirements-dev.txt

# Absent where this Python is too new for the libraries of the published pickle.
.PHONY: venv-2023
venv-2023:
	@if $(PYTHON) -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))'; then \
	  $(PYTHON) scripts/venv.py target/venv-2023 --requirements python/requirements-2023.txt --requirements python/requirements-dev.txt; \
	fi

.PHONY: clean
clean: ## Remove target/, with all that was fetched and built
	rm -rf target
