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

# arrows FILE…: every use of a module of common that is not of a line above, by the order in common/src/lib.rs. Tests
# may look anywhere: what stands behind the opening of a test module, and files that are declared as one.
arrows() {
  awk '
    function module(path) {
      sub(/^common\/src\//, "", path)
      sub(/[\/.].*/, "", path)
      return path
    }
    FILENAME == "common/src/lib.rs" {
      if (match($0, /^\/\/! [0-9]+\. /)) {
        line++
        sub(/:.*/, "")
        while (match($0, /`[a-z_]+`/)) {
          level[substr($0, RSTART + 1, RLENGTH - 2)] = line
          $0 = substr($0, RSTART + RLENGTH)
        }
      }
      next
    }
    FNR == 1 { tests = FILENAME in is_test; pending = 0; own = module(FILENAME) }
    tests || /^ *\/\// { next }
    /^ *#\[cfg\(test\)\]/ { pending = 1; next }
    pending && /^ *#\[/ { next }
    pending && /^ *(pub(\([a-z]+\))? )?mod [a-z_]+;/ {
      folder = FILENAME
      if (!sub(/\/mod\.rs$/, "", folder)) sub(/\.rs$/, "", folder)
      name = $0
      sub(/.*mod /, "", name)
      sub(/;.*/, "", name)
      is_test[folder "/" name ".rs"] = 1
    }
    pending && /^ *mod [a-z_]+ \{/ { tests = 1; next }
    { pending = 0 }
    {
      rest = $0
      while (match(rest, /crate::[a-z_]+/)) {
        used = substr(rest, RSTART + 7, RLENGTH - 7)
        rest = substr(rest, RSTART + RLENGTH)
        if (used == own || rest ~ /^!/) continue
        if (!(own in level) || !(used in level) || level[used] >= level[own])
          printf "%s:%d: %s may not use %s\n", FILENAME, FNR, own, used
      }
    }
  ' common/src/lib.rs "$@"
}

# A module stands in front of its folder, so that what it declares as tests is known before those files come.
mapfile -t files < <(find common/src -name '*.rs' ! -name lib.rs | awk '{ key = $0; sub(/\/mod\.rs$/, ".rs", key); print key "\t" $0 }' |
  sort | cut -f 2)
wrong=$(arrows "${files[@]}")
[ -z "$wrong" ] || fail "an arrow runs against the order in common/src/lib.rs:" "$wrong"

echo "purity: common does no I/O, the server has no window and no devices"
