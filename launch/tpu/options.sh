# shellcheck shell=bash
# Sourced by tpu.sh: the options of its commands, checked before anything is done.

EVERYWHERE="name project zone topology num_slices ssh parallel"
CREATING="provisioning reservation runtime_version valid_until network subnetwork address service_account labels \
disk_gb"

read_command_line() { # COMMAND ARGUMENT...
  local more=""
  case "$1" in
    create) more="$CREATING poll" ;;
    start) more="ref extras retry_pause" ;;
    logs) more="host lines" ;;
    fetch) more="output workdir" ;;
    stop) more="grace" ;;
    supervise)
      more="$CREATING ref extras retry_pause poll grace max_failures max_preemptions max_replacements max_silence"
      more+=" when_done"
      ;;
  esac
  read_options "$EVERYWHERE $more" "dry_run $([ "$1" = logs ] && echo no_follow)" "${@:2}"
  check_everywhere "$1"
  case " $more " in *" provisioning "*) check_creating ;; esac
  case "$1" in
    start | supervise) default extras tpu && default retry_pause 10 && need_count retry_pause 0 ;;&
    run | supervise)
      [ "${#COMMAND[@]}" -gt 0 ] || fail "no command to run: write it behind --, as in -- python -m im_jax.train ..."
      ;;&
    supervise) check_supervise ;;&
    create) default poll 30 && need_count poll 0 ;;
    logs) default host 0 && default lines 50 && need_count lines 0 ;;
    fetch) need output "the directory to copy to" ;;
    stop | supervise) default grace 600 && need_count grace 0 ;;
  esac
}

check_everywhere() { # COMMAND
  [ "$1" = run ] || [ "$1" = supervise ] || [ "${#COMMAND[@]}" -eq 0 ] || fail "$1 takes no command: ${COMMAND[*]}"
  default project "${CLOUDSDK_CORE_PROJECT:-}"
  default zone "${CLOUDSDK_COMPUTE_ZONE:-}"
  default num_slices 1
  default ssh external
  default parallel 16
  need name "what the slices are called, as in --name=run-1"
  need project "the Google Cloud project that pays; or set CLOUDSDK_CORE_PROJECT"
  need zone "where the TPUs are, as in us-west4-a; or set CLOUDSDK_COMPUTE_ZONE"
  need_name
  [[ "${OPTION[zone]}" =~ ^[a-z]+-[a-z]+[0-9]+-[a-z0-9]+$ ]] ||
    fail "--zone=${OPTION[zone]} is no zone, as us-west4-a is"
  read_topology
  need_count num_slices 1
  need_count parallel 1
  need_choice ssh external internal iap
  need_program gcloud "see https://cloud.google.com/sdk/docs/install"
}

check_creating() {
  default provisioning on_demand
  default address external
  default disk_gb 200
  need_choice provisioning on_demand spot reserved
  need_choice address external internal
  need_count disk_gb 20
  [ "${OPTION[address]}" = external ] || [ "${OPTION[ssh]}" != external ] ||
    fail "--address=internal: such machines are reached by --ssh=internal or --ssh=iap"
  if [ "$GENERATION" = tpu7x ]; then
    [ -z "${OPTION[runtime_version]}${OPTION[valid_until]}" ] ||
      fail "--runtime_version and --valid_until are of queued resources; slices of tpu7x are instance groups"
    [ "${OPTION[provisioning]}" != reserved ] || need reservation "reserved slices of tpu7x are of a reservation"
  else
    [ -z "${OPTION[reservation]}" ] ||
      fail "--reservation is for tpu7x; a queued resource takes what the project has reserved in its zone"
  fi
}

check_supervise() {
  default max_failures 3
  default max_preemptions 10000
  default max_replacements 10
  default max_silence 20
  default poll 60
  default when_done keep
  need_count max_failures 0
  need_count max_preemptions 0
  need_count max_replacements 0
  need_count max_silence 1
  need_count poll 0
  need_choice when_done keep delete
}
