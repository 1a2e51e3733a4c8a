#!/usr/bin/env bash
# Install what the tests need and run them; arguments pass through to pytest.
#
#   ./launch/test.sh                    all tests but those that compare with torch and transformers
#   ./launch/test.sh --parity           all tests; installs torch and transformers (large)
#   ./launch/test.sh tests/losses -k stop
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
extras="test"
arguments=()
for argument in "$@"; do
  if [ "$argument" = "--parity" ]; then extras="test,parity"; else arguments+=("$argument"); fi
done
install_into_venv "$extras"
cd "$REPOSITORY"
JAX_PLATFORMS=cpu exec "$VENV/bin/python" -m pytest "${arguments[@]}"
