#!/usr/bin/env bash
# Lint, formatting and type hints. `--fix` mends what can be mended.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_into_venv "lint"
cd "$REPOSITORY"
if [ "${1:-}" = "--fix" ]; then
  "$VENV/bin/ruff" check --fix .
  "$VENV/bin/ruff" format .
else
  "$VENV/bin/ruff" check .
  "$VENV/bin/ruff" format --check .
fi
"$VENV/bin/mypy"
