#!/usr/bin/env bash
# Train the debug configuration on the CPU, from nothing but Python 3.11 or newer.
#
#   ./launch/cpu_debug.sh                             Instruction Modelling on a generated data set
#   ./launch/cpu_debug.sh --config.loss.policy=it     flags pass through to python -m im_jax.train
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install_into_venv ""

config=(--config="$REPOSITORY/configs/cpu_debug.py")
for argument in "$@"; do
  case "$argument" in --config=* | --config) config=() ;; esac
done
JAX_PLATFORMS=cpu exec "$VENV/bin/python" -m im_jax.train "${config[@]}" "$@"
