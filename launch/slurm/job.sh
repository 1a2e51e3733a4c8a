#!/usr/bin/env bash
# The batch script of submit.sh: runs the command in all processes, and puts the job back into the queue where it was
# preempted, and only there. Slurm runs a copy of this file, so that what lies beside it is found by $IM_JAX_LAUNCH.
set -uo pipefail

codes="$IM_JAX_OUTPUT/$SLURM_JOB_NAME-$SLURM_JOB_ID.exit_codes"
rm -rf -- "$codes"
mkdir -p -- "$codes"

# A process that fails does not end the others at once: they may be saving. After five minutes they are ended.
srun --kill-on-bad-exit=0 --wait=300 bash "$IM_JAX_LAUNCH/slurm/task.sh" "$codes" "$@"
code=$?

# srun tells the highest exit code. That is 43 of those that lost a peer, where one has failed with 1.
requeue="" failed="" aborted="" count=0
for file in "$codes"/*; do
  [ -e "$file" ] || continue
  count=$((count + 1))
  case "$(cat "$file")" in
    0) ;;
    2) echo "=== a mistake in the configuration" && exit 2 ;;
    42 | 43) requeue=yes ;;
    134) aborted=yes ;; # JAX's way to end where a peer is lost, but also where something is wrong here
    *) failed="$(cat "$file")" ;;
  esac
done
[ "$count" -ge "$SLURM_NTASKS" ] || requeue=yes # a process that left no code was killed with its node
[ -z "$aborted" ] || [ -n "$requeue" ] || failed=134

if [ -n "$failed" ]; then
  echo "=== failed with exit code $failed"
  exit "$failed"
elif [ -z "$requeue" ]; then
  exit "$code"
elif [[ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" != RUNNING* ]]; then
  echo "=== Slurm ends this job itself: it was cancelled, or goes back into the queue by itself"
  exit "$code"
elif [ "${SLURM_RESTART_COUNT:-0}" -ge "$IM_JAX_MAX_REQUEUES" ]; then
  echo "=== preempted, and was in the queue $IM_JAX_MAX_REQUEUES times again already"
  exit "$code"
fi
echo "=== preempted: into the queue again"
scontrol requeue "$SLURM_JOB_ID" || exit "$code"
sleep 60 # Slurm ends this script now
