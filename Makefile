# Two commands are enough: `make run` starts a meeting, `make test` runs every test. Both first install what is missing.
# The rest is for people who change the code; `make help` lists it.

# Where rustup puts cargo; a shell that is older than the installation does not have it in PATH yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

CARGO ?= cargo
# More arguments for every cargo command that builds, for example CARGOFLAGS=--locked or CARGOFLAGS=--offline.
CARGOFLAGS ?=
# More arguments for one target: make test ARGS='reno', make run ARGS='host --name Ada'.
ARGS ?=
RELEASE_DIR = $(or $(CARGO_TARGET_DIR),target)/release
# What judges voice and picture in the lab: a Python of its own, which the product does not need.
LAB = $(or $(CARGO_TARGET_DIR),target)/lab
# A window needs libraries that a machine without a display can do without.
HAS_DISPLAY = $(if $(DISPLAY)$(WAYLAND_DISPLAY),window,build)

.DEFAULT_GOAL := help
# First what is missing, then the build, whatever -j says; cargo uses all cores by itself.
.NOTPARALLEL:
.PHONY: help run demo server test bench lab lab-files lab-reno lint fmt doc build install-deps clean

help: ## Lists these targets
	@echo 'Conclave: make run starts a meeting, make test runs every test. Both install what is missing.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: install-deps build ## Starts a meeting: the window, or without a display the demo
	$(RELEASE_DIR)/conclave $(or $(ARGS),run)

demo: install-deps build ## Plays a whole meeting without a window and says what worked
	$(RELEASE_DIR)/conclave demo $(ARGS)

server: install-deps ## Starts the server alone, on port 7878
	$(CARGO) run --release -p conclave-server $(CARGOFLAGS) -- $(ARGS)

test: install-deps ## Runs every test
	@if $(CARGO) test --workspace $(CARGOFLAGS) $(ARGS); \
	then echo 'make test: every test passed'; \
	else echo 'make test: FAILED, see above'; exit 1; fi

bench: install-deps ## Runs every benchmark; tables on the screen, figures in target/figures
	$(CARGO) bench --workspace $(CARGOFLAGS) $(ARGS)

lab: install-deps ## Voice and picture on bad networks, judged by PESQ and VMAF (Python packages in target/lab); 4 minutes
	@test -x $(LAB)/bin/python || python3 -m venv $(LAB)
	@$(LAB)/bin/python -c 'import pesq, numpy, imageio_ffmpeg' 2>/dev/null \
	|| $(LAB)/bin/pip install --quiet pesq==0.0.4 numpy imageio-ffmpeg
	$(CARGO) bench -p testbench --bench media $(CARGOFLAGS) -- --python $(LAB)/bin/python $(ARGS)

lab-files: install-deps ## A file of 2 GiB from program to program, and 20 kills in the middle of one; takes a while
	$(CARGO) build --release -p conclave-client -p conclave-server $(CARGOFLAGS)
	$(CARGO) bench -p testbench --bench files $(CARGOFLAGS) -- --full

lab-reno: install-deps ## Our Reno beside the kernel's over an emulated link; needs Linux and root (ARGS=--quick)
	$(CARGO) build --release --manifest-path tests/lab/Cargo.toml --target-dir tests/lab/target $(CARGOFLAGS)
	@lab='tests/lab/target/release/conclave-lab --target $(or $(CARGO_TARGET_DIR),target)'; \
	if [ "$$(id -u)" != 0 ] && command -v sudo >/dev/null; then lab="sudo $$lab"; fi; \
	$$lab $(ARGS)

lint: ## Format, clippy, documentation and the purity of common, warnings denied
	@scripts/setup.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(CARGOFLAGS) -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps $(CARGOFLAGS)
	@scripts/purity.sh
	@echo 'make lint: clean'

fmt: ## Formats the code
	$(CARGO) fmt --all

doc: ## Builds the documentation of the code and says where it is
	$(CARGO) doc --workspace --no-deps $(CARGOFLAGS)
	@echo 'open $(or $(CARGO_TARGET_DIR),target)/doc/common/index.html'

build:
	$(CARGO) build --release -p conclave-client -p conclave-server $(CARGOFLAGS)

install-deps: ## Installs what is missing and nothing else
	@scripts/setup.sh $(HAS_DISPLAY)

clean: ## Removes everything that was built
	$(CARGO) clean
	$(CARGO) clean --manifest-path tests/lab/Cargo.toml --target-dir tests/lab/target
