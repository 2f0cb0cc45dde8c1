#!/usr/bin/env bash
#
# Holds the crates to their place: common does no I/O, the server links no window, no camera and no sound card.
# The clocks, sockets and hash maps of std are refused by clippy (common/clippy.toml); this checks that the list still
# stands and that nothing in common steps around it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'purity: %s\n' "$@" >&2
  exit 1
}

# refuse PACKAGE PATTERN: PACKAGE must not depend on a crate whose name matches PATTERN.
refuse() {
  local tree found
  tree=$(cargo tree --quiet --prefix none -p "$1" -e normal)
  found=$(grep -E "^($2)([-_][a-z0-9_-]+)? v" <<<"$tree" | sort -u || true)
  [ -z "$found" ] || fail "$1 must not depend on:" "$found"
}

refuse conclave-common 'tokio|socket2|mio|cpal|nokhwa|eframe|egui|rustls|tracing|turbojpeg|conclave-(server|client)'
refuse conclave-server 'cpal|nokhwa|eframe|egui|winit|turbojpeg|conclave-client'

for banned in std::time::Instant::now std::time::SystemTime::now std::thread::sleep std::thread::spawn \
  std::net::UdpSocket std::net::TcpStream std::net::TcpListener std::fs::File \
  std::collections::HashMap std::collections::HashSet; do
  grep -q "path = \"$banned\"" common/clippy.toml || fail "common/clippy.toml no longer refuses $banned"
done
# What is forbidden cannot be allowed or expected again further down; tests, which need some origin of time, are not
# compiled here.
cargo clippy --quiet -p conclave-common --lib -- -F clippy::disallowed_methods -F clippy::disallowed_types ||
  fail "common steps around common/clippy.toml, see above"

echo "purity: common does no I/O, the server has no window and no devices"
