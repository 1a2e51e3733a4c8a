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
# Products that run side by side share the cores and win nothing, but their results are alive at once.
export XLA_FLAGS="--xla_cpu_enable_concurrency_optimized_scheduler=false ${XLA_FLAGS:-}"
# A step takes and frees hundreds of MB, from several threads. Kept, in one arena and in large pages, they are
# not cleared anew page by page.
# Where the C library is not glibc this does nothing.
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1:\
glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=500000000}"
JAX_PLATFORMS=cpu exec "$VENV/bin/python" -m im_jax.train "${config[@]}" "$@"
