#!/usr/bin/env bash
# Install what the tests need and run them; arguments pass through to pytest.
#
#   ./launch/test.sh                    all tests but those that compare with torch, transformers, PEFT and lm-eval
#   ./launch/test.sh --parity           all tests; installs torch, transformers, PEFT and lm-eval (large)
#   ./launch/test.sh tests/losses -k stop
#
# All tests run in as many processes as there are cores, four at most. With arguments there is one process, which
# starts faster, stops at the first failure with -x and has a terminal for --pdb; -n 2 asks for two.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
extras="test"
arguments=()
for argument in "$@"; do
  if [ "$argument" = "--parity" ]; then extras="test,parity"; else arguments+=("$argument"); fi
done
install_into_venv "$extras"
if [ "${#arguments[@]}" -eq 0 ]; then
  # Each process takes the next tests of the others' when it is done with its own, so that one file's stay together.
  arguments=(--numprocesses=logical --maxprocesses=4 --dist=worksteal)
fi
cd "$REPOSITORY"
JAX_PLATFORMS=cpu exec "$VENV/bin/python" -m pytest "${arguments[@]}"
