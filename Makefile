# Easel's commands. `make` alone explains them. Every recipe can also be typed by hand: see docs/BUILDING.md.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
PYTHON ?= python3
# More arguments for the program: make run ARGS="--listen 127.0.0.1:9000"
ARGS ?=
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# The engine links libtorch; this prepares it on first use and says where it is. (An assignment of its own, so
# that a failure ends the recipe.)
with_libtorch = export LIBTORCH; LIBTORCH="$$($(PYTHON) tools/libtorch.py)";
# One way to build the binaries, so that no two recipes compile the same crate with other features.
build_release = $(with_libtorch) $(CARGO) build --release --locked --workspace --bins

.PHONY: help run demo build test test-long matrix bench bench-engine fixtures openapi docs fmt deny libtorch docker clean tools

help:
	@echo 'make run         build everything and serve on http://127.0.0.1:8080   (ARGS="--listen 127.0.0.1:9000")'
	@echo 'make demo        the same, with a stand-in for a cloud provider in front'
	@echo 'make build       release binaries in target/release: easel, easel-engine, provider-sim'
	@echo
	@echo 'make test        formatting, lints, docs and every test at small counts'
	@echo 'make test-long   the same suites at full counts; writes docs/test-long.md'
	@echo 'make bench       measure, each number beside a floor or a peer'
	@echo 'make bench-engine   of that, the engine beside diffusers; writes docs/benchmarks/engine.md (2.5 GB of models, once)'
	@echo
	@echo 'make fmt         format the code'
	@echo 'make openapi     write openapi/easel.json anew from the handlers'
	@echo 'make matrix      write docs/failure-matrix.md anew from what happens'
	@echo 'make fixtures    make the parity fixtures anew with diffusers (2 GB of Python packages, once)'
	@echo 'make docs        the code as a book, in target/doc'
	@echo 'make deny        licences and sources of every dependency'
	@echo 'make docker      build the container images (needs Docker)'
	@echo 'make libtorch    only prepare libtorch, and say where it is'
	@echo 'make clean       remove what was built; libtorch and Python environments stay in ~/.cache/easel'
	@echo
	@echo 'Needs Rust (rustup takes the pinned toolchain by itself), a C++ compiler and Python 3 with pip and venv.'
	@echo 'libtorch: LIBTORCH=/its/folder, or EASEL_TORCH_PYTHON=/a/python, or nothing: then it is fetched (0.5 GB;'
	@echo '2.5 GB where an NVIDIA driver is found; EASEL_LIBTORCH_VARIANT=cpu|cuda decides). More: docs/BUILDING.md'

# Say what is missing before a compiler does, and in words.
tools:
	@PYTHON="$(PYTHON)" tools/setup_check.sh

run: build
	exec $(TARGET)/release/easel serve $(ARGS)

demo: build
	exec tools/demo.sh $(TARGET)/release $(ARGS)

build: tools
	@$(build_release)

test: tools
	@$(PYTHON) tools/run_tests.py

test-long: tools
	@$(PYTHON) tools/run_tests.py --level long --report docs/test-long.md

# nginx, LiteLLM, Portkey and diffusers are the peers. What cannot be had here is named, and the rest is measured all the same.
bench: build
	@$(PYTHON) tools/setup_test_env.py nginx >/dev/null || true
	@export EASEL_BENCH_PEERS; EASEL_BENCH_PEERS="$$($(PYTHON) tools/setup_test_env.py peers || true)"; \
	export EASEL_PARITY_PYTHON; EASEL_PARITY_PYTHON="$$($(PYTHON) tools/setup_test_env.py parity || true)"; \
	$(with_libtorch) $(CARGO) bench --locked --workspace --bench '*'

# Models of the families in small are made on first use, in ~/.cache/easel/bench-models (2.5 GB).
bench-engine: tools
	@export EASEL_PARITY_PYTHON; EASEL_PARITY_PYTHON="$$($(PYTHON) tools/setup_test_env.py parity || true)"; \
	$(with_libtorch) $(CARGO) bench --locked --package easel-engine --bench engine

fixtures: tools
	@python="$$($(PYTHON) tools/setup_test_env.py parity)"; \
	"$$python" tools/parity/make_fixtures.py --out crates/engine/tests/fixtures

openapi: tools
	@$(CARGO) run --quiet --locked --package easel -- openapi export --out openapi/easel.json

matrix: tools
	@EASEL_WRITE_FAILURE_MATRIX=1 $(CARGO) test --locked --package easel --test failure_matrix matrix

docs: tools
	@$(with_libtorch) RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	@echo "open $(TARGET)/doc/easel/index.html"

fmt: tools
	@$(CARGO) fmt --all

deny:
	@$(PYTHON) tools/run_tests.py --only deny

docker:
	@docker compose --profile demo build

libtorch:
	@$(PYTHON) tools/libtorch.py --verify

clean:
	@$(CARGO) clean
