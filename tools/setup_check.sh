#!/usr/bin/env bash
# Says what is missing to build Easel, all of it at once, and how to get it; says nothing where all is there.
set -u
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

need cargo 'Rust: install rustup (https://rustup.rs); it takes the version in rust-toolchain.toml by itself'
need c++ 'a C++17 compiler: apt-get install build-essential · dnf install gcc-c++'
if ! command -v "${PYTHON:-python3}" >/dev/null 2>&1; then
    missing+=('Python 3.8 or later: apt-get install python3 python3-pip python3-venv')
elif ! "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 8))'; then
    missing+=("Python 3.8 or later: ${PYTHON:-python3} is older")
fi
[ ${#missing[@]} -eq 0 ] && exit 0
echo 'to build Easel, these are missing:' >&2
printf '  - %s\n' "${missing[@]}" >&2
exit 1
