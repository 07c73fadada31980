#!/usr/bin/env bash
# The stand-in in front of the local engine: `make demo`. usage: demo.sh FOLDER_OF_BINARIES [arguments of easel serve]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
binaries=$1
shift
"$binaries/provider-sim" --listen 127.0.0.1:9090 &
stand_in=$!
trap 'kill "$stand_in" 2>/dev/null || true' EXIT
"$binaries/easel" serve --config config/demo.toml "$@"
