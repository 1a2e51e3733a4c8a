#!/usr/bin/env bash
# One process of a job: tells JAX its devices, runs the command, and keeps its exit code in a directory of all.
set -uo pipefail
codes="$1"
shift

if [ "$IM_JAX_GPUS_PER_PROCESS" -eq 0 ]; then
  export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$IM_JAX_DEVICES"
elif [ "$IM_JAX_GPUS_PER_PROCESS" -gt 1 ]; then
  # Under Slurm JAX takes one GPU for a process, the one of its number on the node, unless told otherwise.
  JAX_LOCAL_DEVICE_IDS="$(seq -s, 0 $((IM_JAX_GPUS_PER_PROCESS - 1)))"
  export JAX_LOCAL_DEVICE_IDS
fi

export PYTHONUNBUFFERED=1 # what is printed is in the log at once
# Slurm sends a signal to the command as well as here: passed on, it would be the second, which ends a run that saves.
trap 'again=1' TERM INT HUP USR1 USR2 CONT
"$@" &
code=0
while :; do
  again=""
  wait $! && code=0 || code=$?
  [ -n "$again" ] || break
done
echo "$code" > "$codes/$SLURM_PROCID"
exit "$code"
