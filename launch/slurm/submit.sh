#!/usr/bin/env bash
# Submit a run to Slurm, on NVIDIA GPUs or CPUs. ./launch/slurm/submit.sh --help
set -euo pipefail
LAUNCH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=launch/options.sh
source "$LAUNCH/options.sh"

show_help() {
  cat << 'END'
./launch/slurm/submit.sh --name=NAME [--nodes=2] [--gpus_per_node=8] [options] -- COMMAND...

Submits a job that runs the command once on every node, or once for every GPU, in this directory, which all nodes must
reach. JAX finds the other processes by itself. A run that was preempted and saved (42), or has lost a peer (43), is put
into the queue again and resumes; a failure and a mistake in the configuration are not.

  --nodes=1                how many
  --gpus_per_node=0        NVIDIA GPUs of each; 0: a run on CPUs
  --processes_per_node=1   1: all GPUs of a node are one process's. As many as GPUs: one for each. On CPUs, any number
  --devices=1              on CPUs: how many devices each process has
  --time=24:00:00          the limit of the job
  --save_seconds=300       so long before the limit the run gets SIGTERM, saves, and goes back into the queue
  --max_requeues=100       how often that may happen
  --output=runs/slurm      a directory for what the job prints, NAME-JOB.log, and for its exit codes
  --partition=, --account=, --qos=, --cpus_per_task=, --mem=    as sbatch has them
  --dry_run                print the command and run none

sbatch reads any other of its options from the environment, as $SBATCH_CONSTRAINT. Its --export is ALL: the job has the
environment of this shell, with the virtual environment that is active here.

  ./launch/slurm/submit.sh --name=im --nodes=4 --gpus_per_node=8 -- \
      python -m im_jax.train --config=configs/llama2_7b.py --workdir=runs/im
END
}

for argument in "$@"; do
  case "$argument" in
    --) break ;;
    --help | -h) show_help && exit 0 ;;
  esac
done
passed_on="partition account qos cpus_per_task mem time"
read_options "name nodes gpus_per_node processes_per_node devices save_seconds max_requeues output $passed_on" \
  dry_run "$@"
default nodes 1
default gpus_per_node 0
default processes_per_node 1
default devices 1
default time 24:00:00
default save_seconds 300
default max_requeues 100
default output runs/slurm
need name "what the job is called"
need_name
need_count nodes 1
need_count gpus_per_node 0
need_count processes_per_node 1
need_count devices 1
need_count save_seconds 1
need_count max_requeues 0
[ "${#COMMAND[@]}" -gt 0 ] || fail "no command to run: write it behind --, as in -- python -m im_jax.train ..."
gpus="${OPTION[gpus_per_node]}"
if [ "$gpus" -gt 0 ]; then
  [ "${OPTION[processes_per_node]}" -eq 1 ] || [ "${OPTION[processes_per_node]}" -eq "$gpus" ] ||
    fail "--processes_per_node=${OPTION[processes_per_node]} must be 1 or the $gpus GPUs of a node"
fi
[[ "${OPTION[output]}" != *%* ]] || fail "--output=${OPTION[output]}: sbatch fills in what follows a %"
need_program sbatch "submit from a machine of the cluster"

words=(--job-name="${OPTION[name]}" --nodes="${OPTION[nodes]}" --ntasks-per-node="${OPTION[processes_per_node]}")
[ "$gpus" -eq 0 ] || words+=(--gres="gpu:$gpus")
for name in $passed_on; do
  [ -z "${OPTION[$name]}" ] || words+=("--${name//_/-}=${OPTION[$name]}")
done
words+=(--signal="TERM@${OPTION[save_seconds]}" --requeue --open-mode=append --export=ALL
  --output="${OPTION[output]}/%x-%j.log")
execute mkdir -p "${OPTION[output]}"
environment=(IM_JAX_LAUNCH="$LAUNCH" IM_JAX_OUTPUT="${OPTION[output]}" IM_JAX_DEVICES="${OPTION[devices]}"
  IM_JAX_GPUS_PER_PROCESS=$((gpus / OPTION[processes_per_node])) IM_JAX_MAX_REQUEUES="${OPTION[max_requeues]}")
execute env "${environment[@]}" sbatch "${words[@]}" "$LAUNCH/slurm/job.sh" "${COMMAND[@]}"
