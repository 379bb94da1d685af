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
# What `make dist-test` unpacks the archive in.
SYSTEMS ?= debian:bookworm-slim ubuntu:22.04 ubuntu:24.04

TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV_PYTHON := target/venv/bin/python
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)
CARGO_DENY_VERSION := 0.20.2

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

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

ONLY ?=

.PHONY: estimators
estimators: onnxruntime ## Compare every estimator with its library over HTTP (ONLY=pattern); write the table
	$(CARGO) build --locked
	@$(PYTHON) scripts/venv.py target/venv-estimators --requirements python/requirements.txt --requirements python/requirements-estimators.txt
	cd python && ../target/venv-estimators/bin/python -m parity.estimators $(if $(ONLY),--only '$(ONLY)',--table ../docs/estimators.md)

.PHONY: parity-old
parity-old: onnxruntime ## Compare the classes that feature-engine had until 1.3 with feature-engine 1.2
	$(CARGO) build --locked
	@if $(PYTHON) -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))'; then \
	  $(PYTHON) scripts/venv.py target/venv-2022 --requirements python/requirements-2022.txt && \
	  cd python && ../target/venv-2022/bin/python -m parity --module feature_engine_old --cases $(CASES) --seed $(SEED); \
	else echo "The libraries of 2022 run on Python 3.9 to 3.11 only, so nothing is compared."; fi

# IMAGES random pictures and the real ones, each with random recipes.
IMAGES ?= 400

.PHONY: parity-images
parity-images: onnxruntime ## Compare decoding and resizing with OpenCV and Pillow, on IMAGES pictures
	$(CARGO) build --locked
	@$(PYTHON) scripts/venv.py target/venv-images --requirements python/requirements-images.txt
	cd python && ../target/venv-images/bin/python -m parity.images --cases $(IMAGES) --seed $(SEED)

.PHONY: reference-models
reference-models: onnxruntime ## Compare the linear template, the digits and the seedlings over HTTP with what trained them
	$(CARGO) build --locked
	@$(PYTHON) scripts/venv.py target/venv-images --requirements python/requirements-images.txt
	cd python && ../target/venv-images/bin/python -m parity.models

.PHONY: smoke
smoke: onnxruntime ## Start the debug build, compare golden rows over HTTP, stop it
	$(CARGO) build --locked
	$(PYTHON) scripts/smoke.py $(TARGET)/debug/seaworthy

.PHONY: heroku
heroku: onnxruntime ## Imitate Heroku around the debug build: restarts under load, no failed request
	$(CARGO) build --locked
	$(PYTHON) scripts/heroku.py $(TARGET)/debug/seaworthy

.PHONY: serve-test
serve-test: smoke heroku ## Both of these

TOLERANCE ?= 0.01

.PHONY: differential
differential: onnxruntime ## Compare the newest models with those of the last release, within TOLERANCE (relative)
	$(CARGO) build --locked
	$(PYTHON) scripts/differential.py $(TARGET)/debug/seaworthy --tolerance $(TOLERANCE)

.PHONY: schemathesis
schemathesis: onnxruntime ## Start the debug build, ask it what its OpenAPI document allows and forbids, check the answers
	$(CARGO) build --locked
	@$(PYTHON) scripts/venv.py target/venv-schemathesis --requirements tests/schemathesis/requirements.txt
	target/venv-schemathesis/bin/python tests/schemathesis/run.py $(TARGET)/debug/seaworthy

CHAOS ?=
CHAOS_REQUESTS ?= 10000000
CHAOS_FLAGS ?=

# CHAOS="overload rolling" runs only these.
.PHONY: chaos
chaos: onnxruntime bench-models ## Overload, soak of CHAOS_REQUESTS, rolling restart behind nginx, full disk, kill -9 (needs wrk, h2load, nginx)
	$(CARGO) build --release --locked
	@$(PYTHON) scripts/venv.py target/venv-schemathesis --requirements tests/schemathesis/requirements.txt
	$(CARGO) build --release --locked --bench drive
	$(PYTHON) scripts/chaos.py $(TARGET)/release/seaworthy $(CHAOS) --drive "$(call bench-binary,drive)" \
	  --heavy target/bench-models/plant-seedlings/1.0.0 --requests $(CHAOS_REQUESTS) $(CHAOS_FLAGS)

.PHONY: reliability
reliability: ## Write docs/reliability.md from what the tests and `make chaos` have seen
	$(PYTHON) scripts/reliability.py

FUZZ ?= rows manifest images log
FUZZ_SECONDS ?= 600
CARGO_FUZZ_VERSION := 0.13.2

# A toolchain that has the sanitizers. The seeds are in git, and what `make fuzz-keep` kept of earlier runs; what is found on the way is in
# target/, and so are the figures, for `make reliability`.
FUZZ_RUN = ORT_DISABLE_TELEMETRY=1 ASAN_OPTIONS=detect_leaks=0 \
  $(CARGO) +nightly fuzz run --fuzz-dir fuzz --target-dir target/fuzz

.PHONY: cargo-fuzz
cargo-fuzz:
	@test -x "$(TOOLS)/bin/cargo-fuzz" || $(CARGO) install --locked --root "$(TOOLS)" --version $(CARGO_FUZZ_VERSION) cargo-fuzz

.PHONY: fuzz
fuzz: onnxruntime cargo-fuzz ## Run each target of FUZZ for FUZZ_SECONDS, one after the other (needs a nightly toolchain)
	@for target in $(FUZZ); do \
	  mkdir -p target/fuzz-corpus/$$target target/fuzz-artifacts/$$target target/fuzz-logs; \
	  kept=fuzz/corpora/$$target.tar.gz; if test -f $$kept; then tar -xzf $$kept -C target/fuzz-corpus/$$target; fi; \
	  dictionary=; if test -f fuzz/$$target.dict; then dictionary="-dict=fuzz/$$target.dict"; fi; \
	  $(FUZZ_RUN) $$target target/fuzz-corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
	    -rss_limit_mb=4096 -max_len=65536 -artifact_prefix=target/fuzz-artifacts/$$target/ $$dictionary \
	    2>&1 | tee target/fuzz-logs/$$target.log; \
	done

.PHONY: fuzz-keep
fuzz-keep: onnxruntime cargo-fuzz ## Keep in fuzz/corpora, as small as can be, what `make fuzz` has found that reaches new code
	@mkdir -p fuzz/corpora; for target in $(FUZZ); do \
	  rm -rf target/fuzz-kept/$$target; mkdir -p target/fuzz-kept/$$target; \
	  $(FUZZ_RUN) $$target target/fuzz-kept/$$target fuzz/seeds/$$target target/fuzz-corpus/$$target -- -merge=1 -max_len=512; \
	  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - -C target/fuzz-kept/$$target . \
	    | gzip -9n > fuzz/corpora/$$target.tar.gz; \
	done; ls -l fuzz/corpora

.PHONY: spark
spark: onnxruntime ## Predict in the executors of a real Spark cluster on this machine, and kill one of them (needs Java 17)
	$(CARGO) build --locked --release
	@$(PYTHON) scripts/venv.py target/venv-spark --requirements tests/spark/requirements.txt
	target/venv-spark/bin/python tests/spark/run.py $(TARGET)/release/seaworthy

.PHONY: bench-offline
bench-offline: onnxruntime venv-2023 ## Measure `seaworthy predict` on 1,000,000 rows against the Python pipeline; replay 100,000 requests
	$(CARGO) build --locked --release
	$(PYTHON) scripts/bench_offline.py --binary $(TARGET)/release/seaworthy --write

# How many of each kind.
REQUESTS ?= 10000

.PHONY: soak
soak: onnxruntime ## Ask the release build REQUESTS times with batches and pictures of varying size, and watch its memory
	$(CARGO) build --locked --release
	$(PYTHON) scripts/soak.py $(TARGET)/release/seaworthy --requests $(REQUESTS)

.PHONY: check
check: fmt clippy doc python-lint validate faults deny ## Check format, lints, documentation, what platforms read, and dependencies

.PHONY: fmt
fmt:
	$(CARGO) fmt --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --locked --all-targets -- --deny warnings
# Those that `cargo bench` does not run are not among all targets.
	$(CARGO) clippy --locked --bench floor --bench drive --bench alone -- --deny warnings

.PHONY: doc
doc:
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --no-deps

# Paths from the folder, since its pyproject.toml configures the tools.
.PHONY: python-lint
python-lint: venv
	cd python && ../target/venv/bin/ruff check . && ../target/venv/bin/ruff format --check . && ../target/venv/bin/mypy

.PHONY: validate
validate: ## Check the files for ECS, Kubernetes, KServe, Prometheus, Grafana and CircleCI against what those publish
	@$(PYTHON) scripts/venv.py target/venv-deploy --requirements deploy/requirements.txt
	target/venv-deploy/bin/python deploy/validate.py

.PHONY: faults
faults: ## Check that docs/reliability.md lists each test that provokes a fault
	$(PYTHON) scripts/reliability.py --check

# Compiling cargo-deny takes minutes: only `make tools` does it, and CI, which keeps it.
.PHONY: deny
deny: $(if $(CI),tools)
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check; \
	else echo "cargo-deny is not installed, so dependencies are not checked; \`make tools\` compiles it"; fi

.PHONY: tools
tools: ## Compile cargo-deny into target/tools, for `make check`
	@command -v cargo-deny >/dev/null || \
	$(CARGO) install --locked --root "$(TOOLS)" --version $(CARGO_DENY_VERSION) cargo-deny

.PHONY: audit
audit: $(if $(CI),tools) ## Ask the database of advisories about every dependency (needs the network)
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is not installed: \`make tools\` compiles it. Nothing was checked." >&2; exit 1; }
	@fetched="$$($(CARGO) deny --locked fetch db 2>&1)" || { \
	  echo "The database of advisories cannot be had, so nothing was checked: $$(tail -1 <<<"$$fetched")" >&2; exit 1; }
	$(CARGO) deny --locked check advisories

.PHONY: sbom
sbom: ## Write what is linked into the program to target/sbom.cdx.json (CycloneDX 1.6), and validate it
	@$(PYTHON) scripts/venv.py target/venv-sbom --requirements deploy/requirements-sbom.txt
	target/venv-sbom/bin/python scripts/sbom.py target/sbom.cdx.json

.PHONY: models
models: ## Train the models again and write their artifacts into models/
	$(PYTHON) python/make_models.py

BENCH_FLAGS ?=

# Where cargo has put the benchmark of this name.
bench-binary = $$($(CARGO) bench --no-run --locked --bench $(1) --message-format json 2>/dev/null | \
  sed -n 's/.*"name":"$(1)".*"executable":"\([^"]*\)".*/\1/p')

.PHONY: bench
bench: onnxruntime bench-models ## Compare the release build with a bare echo server, measure memory; write docs/benchmarks.md (needs wrk)
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --bench floor --bench drive --bench alone
	$(PYTHON) scripts/bench.py --server $(TARGET)/release/seaworthy --floor "$(call bench-binary,floor)" \
	  --drive "$(call bench-binary,drive)" --alone "$(call bench-binary,alone)" --models target/bench-models $(BENCH_FLAGS)

.PHONY: bench-models
bench-models:
	@$(PYTHON) scripts/venv.py target/venv-images --requirements python/requirements-images.txt
	target/venv-images/bin/python scripts/bench_models.py target/bench-models

.PHONY: bench-profile
bench-profile: onnxruntime ## Count the instructions of each stage; write docs/benchmarks.md (needs valgrind)
	$(CARGO) build --release --locked --bench alone
	$(PYTHON) scripts/bench_profile.py --alone "$(call bench-binary,alone)" $(BENCH_FLAGS)

.PHONY: bench-stages
bench-stages: onnxruntime ## Measure decoding, pipeline, session, postprocessing, answer and log one by one
	ORT_DISABLE_TELEMETRY=1 $(CARGO) bench --locked --bench stages

.PHONY: bench-peers
bench-peers: ## Compare with FastAPI, MLServer, BentoML and LitServe, which are installed into target/ (needs wrk)
	$(CARGO) build --release --locked
	$(PYTHON) scripts/bench_peers.py --server $(TARGET)/release/seaworthy $(BENCH_FLAGS)

BUILD_IMAGE = docker build $(DOCKER_BUILD_FLAGS) \
  --build-arg RUST_VERSION=$(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) \
  --build-arg VERSION=$(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q;}' Cargo.toml) \
  --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown)

.PHONY: seedlings
seedlings: ## Train the course's network for plant seedlings on what there is, into target/models (30 MB)
	@$(PYTHON) scripts/venv.py target/venv-images --requirements python/requirements-images.txt
	SOURCE_DATE_EPOCH=1795219200 PYTHONPATH=python:python/models target/venv-images/bin/python python/models/seedlings.py target/models

.PHONY: image
image: ## Build the container image IMAGE (default: seaworthy) and try it
	$(BUILD_IMAGE) --tag $(IMAGE) .
	$(PYTHON) scripts/smoke.py --image $(IMAGE)

.PHONY: image-test
image-test: ## Build the image, run it under every condition of docs/deploy.md and in the imitation of Heroku, measure
	$(BUILD_IMAGE) --tag $(IMAGE) .
	$(PYTHON) scripts/image_test.py --image $(IMAGE) --table target/image.md
	$(PYTHON) scripts/heroku.py --image $(IMAGE)

.PHONY: image-reproducible
image-reproducible: ## Build the image again without a cache: the same files?
	$(BUILD_IMAGE) --tag $(IMAGE) .
	$(BUILD_IMAGE) --no-cache --tag $(IMAGE)-again .
	$(PYTHON) scripts/image_test.py --image $(IMAGE) --again $(IMAGE)-again --only-files

.PHONY: dist
dist: onnxruntime ## Pack the release build with ONNX Runtime, settings and licences into target/dist
	$(CARGO) build --release --locked
	$(PYTHON) scripts/dist.py $(TARGET)/release/seaworthy

.PHONY: dist-test
dist-test: ## Unpack what `make dist` packed in each image of SYSTEMS, and serve from there
	$(PYTHON) scripts/dist_test.py $(SYSTEMS)

.PHONY: publish-heroku publish-ecr
publish-heroku: ## Push IMAGE to HEROKU_APP and release it (needs HEROKU_API_KEY; without it nothing happens)
	$(PYTHON) scripts/publish.py heroku $(IMAGE)
publish-ecr: ## Push IMAGE to ECR_REPOSITORY (needs AWS credentials; without them nothing happens)
	$(PYTHON) scripts/publish.py ecr $(IMAGE)

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
