#!/usr/bin/env bash
#
# Installs what Conclave needs to be built, tested and run, and nothing that is there already.
#
#   scripts/setup.sh          compiler, libraries, Rust
#   scripts/setup.sh window   also what a window loads when it opens
#   scripts/setup.sh lint     also rustfmt and clippy
#
# Debian 12 and 13 and Ubuntu 24.04 are tried. On a system without apt it says what to install by hand and goes on.
# When nothing is missing it takes about a tenth of a second and touches neither the network nor apt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Cargo.toml is the one place where the oldest Rust that works is written down.
RUST_MIN=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
# The same file at two addresses: the official one, and the host that the toolchain itself comes from.
RUSTUP_URLS=(https://sh.rustup.rs https://static.rust-lang.org/rustup/rustup-init.sh)
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

missing=()
# "name:status" of every package dpkg knows, one a line; filled once, because asking for each takes ten times as long.
packages=

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
installed() { [[ $packages == *$'\n'"$1:installed"$'\n'* ]]; }

# need PACKAGE WHY [COMMAND]: misses PACKAGE unless COMMAND (or else the package itself) is there.
need() {
  if [ $# -eq 3 ] && has "$3"; then return; fi
  if ! installed "$1"; then
    say "missing: $1 ($2)"
    missing+=("$1")
  fi
}

# libclang alone cannot parse a header: the ones of its own version are in another package with a number in its name.
has_libclang() {
  local headers version
  for headers in /usr/lib/llvm-*/lib/clang/*/include/stddef.h; do
    version=${headers#/usr/lib/llvm-}
    version=${version%%/*}
    if [ -e "$headers" ] && compgen -G "/usr/lib/*/libclang-$version*.so*" >/dev/null; then return 0; fi
  done
  return 1
}

list_build_packages() {
  need gcc "C compiler and linker" cc
  need libc6-dev "headers of the C library"
  need g++ "C++ compiler, for libjpeg-turbo's build" c++
  need make "for libjpeg-turbo's build" make
  need cmake "for libjpeg-turbo's build" cmake
  need nasm "assembler of libjpeg-turbo's fast paths" nasm
  need pkg-config "finds libraries" pkg-config
  need libasound2-dev "sound"
  need ca-certificates "to download crates over TLS"
  if ! has_libclang; then
    say "missing: libclang (reads the kernel's camera headers)"
    missing+=(libclang1 libclang-common)
  fi
  if ! rust_is_new_enough; then need curl "to download Rust" curl; fi
}

list_window_packages() {
  local package
  for package in libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libx11-xcb1 libxcursor1 \
    libxi6 libxrandr2 libwayland-egl1; do
    need "$package" "loaded by a window"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif has sudo; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    fail "these packages need root, and there is no sudo. As root, run:" \
      "  apt-get update && apt-get install --no-install-recommends ${missing[*]/%libclang-common/libclang-dev}"
  fi
}

# Puts the package that belongs to this release's libclang1 in the place of the name without a version.
name_libclang_common() {
  local at version
  version=$(apt-cache depends libclang1 | sed -n 's/.*Depends: libclang1-\([0-9]*\).*/\1/p' | head -n 1)
  for at in "${!missing[@]}"; do
    if [ "${missing[at]}" = libclang-common ]; then
      missing[at]=${version:+libclang-common-$version-dev}
      missing[at]=${missing[at]:-libclang-dev}
    fi
  done
}

install_packages() {
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  say "installing with apt-get$([ "$(id -u)" -eq 0 ] || echo ', as root'): ${missing[*]}"
  # A source that does not answer is no reason to stop: what is needed may come from another.
  as_root apt-get -qq -o DPkg::Lock::Timeout=120 update || say "apt-get update failed; trying with the lists as they are"
  name_libclang_common
  local log
  log=$(mktemp)
  # dpkg writes five lines a package; they matter only when something goes wrong.
  if ! as_root apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "apt-get could not install: ${missing[*]}" "its whole output is in $log"
  fi
  rm -f "$log"
  say "installed"
}

explain_other_systems() {
  case "$(uname -s)" in
    Darwin) say "macOS (not tried): xcode-select --install; brew install cmake nasm" ;;
    Linux)
      say "no apt-get here. Install by hand if the build asks for it (names as in Fedora, not tried):"
      say "  gcc gcc-c++ make cmake nasm pkgconf alsa-lib-devel clang-libs clang-resource-filesystem libxkbcommon-x11"
      ;;
    *) say "this system is not known; see README.md for what to install by hand" ;;
  esac
}

at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Prints nothing when there is no Rust, or a rustup without a toolchain.
rust_version() { { rustc --version 2>/dev/null || true; } | sed -n 's/^rustc \([0-9.]*\).*/\1/p'; }

rust_is_new_enough() {
  local version
  version=$(rust_version)
  has cargo && [ -n "$version" ] && at_least "$version" "$RUST_MIN"
}

install_rustup() {
  local script url
  script=$(mktemp)
  # Expanded here on purpose: a local variable is gone when the trap runs.
  # shellcheck disable=SC2064
  trap "rm -f '$script'" EXIT
  for url in "${RUSTUP_URLS[@]}"; do
    say "installing Rust into ${CARGO_HOME:-$HOME/.cargo} with rustup, from $url"
    if curl --proto '=https' --tlsv1.2 -fsSL --connect-timeout 20 --retry 2 -o "$script" "$url"; then
      # The variable lets it go on beside a Rust of the distribution that is too old.
      if RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$script" -y -q --profile minimal --default-toolchain stable >/dev/null; then
        hash -r
        say "new shells find cargo by themselves; make finds it already"
        return
      fi
    fi
  done
  fail "Rust could not be installed. Install Rust $RUST_MIN or newer from https://rustup.rs and run this again."
}

install_rust() {
  if rust_is_new_enough; then return; fi
  local found
  found=$(rust_version)
  say "missing: Rust $RUST_MIN or newer (found: ${found:-none})"
  if has rustup; then
    say "installing the stable toolchain with the rustup that is here"
    rustup toolchain install stable --profile minimal --no-self-update
  else
    install_rustup
  fi
  if ! rust_is_new_enough && has rustup; then
    say "the default toolchain stays as it is; this folder uses stable from here on"
    rustup override set stable
  fi
  rust_is_new_enough || fail "Rust is still older than $RUST_MIN: is another one earlier in PATH? $(command -v rustc)"
}

install_lint_tools() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  say "missing: rustfmt or clippy"
  has rustup || fail "install rustfmt and clippy of your Rust, then run this again"
  rustup component add rustfmt clippy
}

main() {
  local what=${1:-build}
  case "$what" in
    build | lint | window) ;;
    *) fail "usage: scripts/setup.sh [build|lint|window]" ;;
  esac
  if has apt-get && has dpkg-query; then
    packages=$'\n'$(dpkg-query -W -f='${Package}:${db:Status-Status}\n')$'\n'
    list_build_packages
    if [ "$what" = window ]; then list_window_packages; fi
    install_packages
  else
    explain_other_systems
  fi
  install_rust
  if [ "$what" = lint ]; then install_lint_tools; fi
  say "everything is there (Rust $(rust_version))"
}

main "$@"
