#!/usr/bin/env bash
# The two commands of the README, and what they need:
#   ./skiff.sh demo   install what is missing, build, start two minions, run the example of 2014
#   ./skiff.sh test   install what is missing, run every check and test
#   ./skiff.sh down   remove every trace of the demo
# Needs root on Debian 12 with Rust. Anything longer than a few lines of shell is Rust, in xtask or in skiff itself.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$HOME/.cargo/bin:$PATH"

demo_dir=${SKIFF_DEMO_DIR:-/var/lib/skiff-demo}

say() { printf '\n== %s\n' "$1"; }

# Installs the Debian packages of the list that are missing, quietly.
packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  # Nothing that these packages bring may start by itself: Skiff runs its own containerd.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  [ -z "$made" ] || rm -f $policy
}

needs_root() { [ "$(id -u)" = 0 ] || { echo "skiff.sh $1 needs root: it makes containers and network namespaces" >&2; exit 1; }; }
node_packages() { packages containerd runc nftables iproute2 conntrack; }
build_packages() { packages gcc g++ libc6-dev make cmake protobuf-compiler; }
kubectl_package() { command -v kubectl >/dev/null || packages kubernetes-client; }

# Puts a kubectl of our time first in the PATH where the machine has none or Debian's of 2020.
new_kubectl() {
  case $(kubectl version --client 2>/dev/null) in
    ''|*GitVersion:\"v1.2[0-9]*) PATH="$PWD/target/clients/helm:$PATH" ;;
  esac
}

cargo_tool() { # name of the program, then what cargo install needs
  command -v "$1" >/dev/null || { say "installing $1"; shift; cargo install --quiet --locked "$@"; }
}

build() {
  say "building skiff (release)"
  cargo build --release --quiet --package skiff-skiff
  cargo xtask images --out target/images
}

demo() {
  needs_root demo
  node_packages; build_packages; kubectl_package
  build
  exec examples/guestbook/demo.sh "$PWD/target/release/skiff" "$PWD/target/images" "$demo_dir"
}

down() {
  needs_root down
  local skiff
  for skiff in target/release/skiff target/debug/skiff; do
    [ -x "$skiff" ] && exec "$skiff" down --data-dir "$demo_dir" --purge
  done
  echo "nothing was built, so nothing is running"
}

# Takes down what tests that were killed left behind.
sweep() {
  local dir netns
  for dir in /tmp/skiff-e2e-*; do
    netns=/run/netns/$(basename "$dir")
    [ -d "$dir" ] || continue
    if [ -e "$netns" ]; then nsenter --net="$netns" target/debug/skiff down --purge --data-dir "$dir"; fi
    rm -rf "$dir"
  done >/dev/null 2>&1
  for netns in /run/netns/skiff-e2e-*; do
    [ -e "$netns" ] && ip netns del "$(basename "$netns")"
  done
  return 0
}

run_tests() {
  needs_root test
  node_packages; build_packages
  packages busybox-static procps python3-pip python3-venv
  command -v npm >/dev/null || packages nodejs npm
  cargo_tool cargo-nextest cargo-nextest
  cargo_tool cargo-deny --debug --no-default-features cargo-deny
  cargo_tool cargo-fuzz --debug cargo-fuzz
  say "format";  cargo fmt --all --check
  say "clippy";  cargo clippy --workspace --all-targets --quiet -- -D warnings
  say "deny"
  for workspace in . fuzz crates/skiff/tests/clients/kube; do
    cargo deny --manifest-path $workspace/Cargo.toml --config deny.toml --log-level error check bans licenses sources
  done
  say "docs";    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --quiet
  say "fuzz";    cargo xtask fuzz --check
  say "images";  cargo xtask images --out target/images
  say "clients"; cargo xtask clients --out target/clients
  new_kubectl
  say "tests";   cargo build --workspace --all-targets --quiet
  trap sweep EXIT
  cargo nextest run --workspace --no-fail-fast
}

case "${1:-}" in
  demo) demo ;;
  test) run_tests ;;
  down) down ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
