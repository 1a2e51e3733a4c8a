#!/usr/bin/env bash
# Rent TPUs, start a run on all of their hosts, watch it, and give them back. ./launch/tpu.sh --help
set -euo pipefail
LAUNCH="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPOSITORY="$(dirname "$LAUNCH")"
source "$LAUNCH/options.sh"
source "$LAUNCH/tpu/help.sh"
source "$LAUNCH/tpu/topology.sh"
source "$LAUNCH/tpu/options.sh"

what="${1:-}"
case "$what" in
  create | start | run | logs | status | fetch | stop | delete | supervise) shift ;;
  --help | -h) help_all && exit 0 ;;
  '') fail "which command? create, start, run, logs, status, fetch, stop, delete or supervise; --help shows more" ;;
  *) fail "$what is no command; these are: create start run logs status fetch stop delete supervise" ;;
esac
for argument in "$@"; do
  case "$argument" in
    --) break ;;
    --help | -h) "help_$what" && exit 0 ;;
  esac
done

read_command_line "$what" "$@"
if [ "$GENERATION" = tpu7x ]; then
  source "$LAUNCH/tpu/instance_group.sh"
else
  source "$LAUNCH/tpu/queued_resource.sh"
fi
source "$LAUNCH/tpu/hosts.sh"
source "$LAUNCH/tpu/commands.sh"
source "$LAUNCH/tpu/judge.sh"
source "$LAUNCH/tpu/supervise.sh"
"do_$what"
