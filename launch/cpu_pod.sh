#!/usr/bin/env bash
# Train in several processes on this machine, as the hosts of a pod do. ./launch/cpu_pod.sh --help
set -euo pipefail
LAUNCH="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$LAUNCH/options.sh"
source "$LAUNCH/environment.sh"
source "$LAUNCH/pod/processes.sh"

show_help() {
  cat << 'END'
./launch/cpu_pod.sh [--processes=2] [--devices=1] [options] [flags of im_jax.train]
./launch/cpu_pod.sh [--processes=2] [--devices=1] [options] -- COMMAND...

A real run of several processes on the CPU of this machine: each joins the cluster (jax.distributed) with so many
devices. Every line of output begins with the number of its process. Without --config, configs/cpu_debug.py is trained;
without --workdir, in a new directory in runs/. Behind --, another command is run in each process, and nothing is
installed.

  --processes=2   how many
  --devices=1     how many devices each of them has
  --grace=30      seconds that the others have to end, once one has failed: after 42 (preempted and saved) and 43 (a
                  peer was lost) by themselves, before they get SIGTERM; after any other at once. Then, SIGKILL
  --dry_run       print the commands and run none

Signals go on to all processes, once. The exit code is that of the worst: 2 (a mistake), any other failure, 43, 42, 0.
END
}

OPTION=([processes]="${IM_JAX_PROCESSES:-2}" [devices]="${IM_JAX_DEVICES:-1}" [grace]="${IM_JAX_GRACE:-30}")
flags=() given=" "
while [ "$#" -gt 0 ]; do
  case "$1" in
    --help | -h) show_help && exit 0 ;;
    --processes=* | --devices=* | --grace=*)
      name="${1%%=*}"
      OPTION[${name#--}]="${1#*=}"
      ;;
    --dry_run) FLAG[dry_run]=1 ;;
    --)
      shift
      COMMAND=("$@")
      [ "${#COMMAND[@]}" -gt 0 ] || fail "no command stands behind --"
      [ "${#flags[@]}" -eq 0 ] || fail "${flags[0]} is a flag of training, and another command is given"
      break
      ;;
    *)
      flags+=("$1")
      given+="${1%%=*} "
      ;;
  esac
  shift
done
need_count processes 1
need_count devices 1
need_count grace 0

if [ "${#COMMAND[@]}" -eq 0 ]; then
  dry || install_into_venv ""
  COMMAND=("$VENV/bin/python" -m im_jax.train)
  [[ "$given" == *" --config "* ]] || COMMAND+=(--config="$REPOSITORY/configs/cpu_debug.py")
  [[ "$given" == *" --workdir "* ]] || COMMAND+=(--workdir="runs/cpu_pod-$(date +%Y%m%d-%H%M%S)")
  COMMAND+=("${flags[@]}")
fi

free_port() {
  "${PYTHON:-python3}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

address="127.0.0.1:$(free_port)"
environment=(PYTHONUNBUFFERED=1 JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="${OPTION[devices]}"
  JAX_COORDINATOR_ADDRESS="$address" IM_JAX_ROLL_CALL_PORT="$(free_port)" JAX_NUM_PROCESSES="${OPTION[processes]}")
for ((process = 0; process < OPTION[processes]; process++)); do
  start_process "$process" env "${environment[@]}" JAX_PROCESS_ID="$process" "${COMMAND[@]}"
done
dry || end_with_them
