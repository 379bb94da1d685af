#!/usr/bin/env bash
# Installs what building and testing need and a bare Debian or Ubuntu lacks, and checks that Rust is there. Quick, and
# without any change, where nothing is missing; elsewhere it only says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v make >/dev/null || missing+=(make)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import pip' 2>/dev/null || missing+=(python3-pip)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if ((${#missing[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! command -v sudo >/dev/null; }; then
    echo "prerequisites: please install ${missing[*]} (Debian's names)" >&2
    exit 1
  fi
  echo "prerequisites: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Each of the three fails with rustup's own words where the toolchain of rust-toolchain.toml or a component is absent.
if ! command -v cargo >/dev/null; then
  echo "prerequisites: there is no cargo; install Rust with rustup" >&2
  exit 1
fi
cargo --version
cargo fmt --version
cargo clippy --version
python3 --version
