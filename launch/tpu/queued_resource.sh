# shellcheck shell=bash
# Sourced by tpu.sh: slices as a queued resource of the Cloud TPU API (v4, v5e, v5p, v6e). A host is SLICE:WORKER.

TPU=(gcloud compute tpus)
WHERE=(--project="${OPTION[project]}" --zone="${OPTION[zone]}")
ALIVE=(--ssh-flag=-oServerAliveInterval=30) # a run may be silent for longer than a network keeps a connection
TO_HOSTS=("${TPU[@]}" tpu-vm) REACH=()
case "${OPTION[ssh]}" in
  internal) REACH=(--internal-ip) ;;
  iap) TO_HOSTS=(gcloud alpha compute tpus tpu-vm) REACH=(--tunnel-through-iap) ;; # only alpha can tunnel
esac

kind_of_slice() { # KIND: flags that say what a slice is; sizes of v4 and v5p are TensorCores, two a chip
  case "$GENERATION" in
    v4) KIND=(--type=v4 --topology="$SHAPE") VERSION=tpu-ubuntu2204-base ;;
    v5e) KIND=(--accelerator-type="v5litepod-$CHIPS") VERSION=v2-alpha-tpuv5-lite ;;
    v5p) KIND=(--accelerator-type="v5p-$((2 * CHIPS))") VERSION=v2-alpha-tpuv5 ;;
    v6e) KIND=(--accelerator-type="v6e-$CHIPS") VERSION=v2-alpha-tpuv6e ;;
  esac
}

slices_create() {
  local more=() VERSION KIND
  kind_of_slice
  if [ "${OPTION[num_slices]}" -eq 1 ]; then
    more+=(--node-id="${OPTION[name]}")
  else
    more+=(--node-count="${OPTION[num_slices]}" --node-prefix="${OPTION[name]}")
  fi
  [ "${OPTION[provisioning]}" = on_demand ] || more+=("--${OPTION[provisioning]}")
  [ "${OPTION[address]}" = external ] || more+=(--internal-ips)
  [ -z "${OPTION[valid_until]}" ] || more+=(--valid-until-duration="${OPTION[valid_until]}")
  [ -z "${OPTION[network]}" ] || more+=(--network="${OPTION[network]}")
  [ -z "${OPTION[subnetwork]}" ] || more+=(--subnetwork="${OPTION[subnetwork]}")
  [ -z "${OPTION[service_account]}" ] || more+=(--service-account="${OPTION[service_account]}")
  [ -z "${OPTION[labels]}" ] || more+=(--labels="${OPTION[labels]}")
  execute "${TPU[@]}" queued-resources create "${OPTION[name]}" "${WHERE[@]}" "${KIND[@]}" \
    --runtime-version="${OPTION[runtime_version]:-$VERSION}" "${more[@]}" --quiet
}

slices_state() { # one word, and a reason: absent waiting ready repairing preempted failed unknown
  local state
  state="$(described --format='value(state.state)')" || { echo "$state" && return; }
  case "$state" in
    ACTIVE) nodes_state ;;
    FAILED) echo "failed $(reason_of_failure)" ;;
    SUSPENDING | SUSPENDED) echo "preempted the queued resource is $state" ;;
    *) echo "waiting the queued resource is ${state:-new}" ;;
  esac
}

reason_of_failure() { described --format='value(state.failedData.error.message)' || true; }

described() { asked "${TPU[@]}" queued-resources describe "${OPTION[name]}" "${WHERE[@]}" "$@"; }

nodes_state() { # of the worst node
  local node state health repairing="" notes=""
  for node in $(slice_names); do
    state="$(asked "${TPU[@]}" tpu-vm describe "$node" "${WHERE[@]}" --format='value(state,health)')" || {
      case "$state" in
        absent*) echo "preempted $node is gone" ;;
        *) echo "$state" ;;
      esac
      return
    }
    read -r state health <<< "$state"
    [ "${health:-HEALTHY}" = HEALTHY ] || notes+=" $node is $health"
    case "$state" in
      READY) ;;
      PREEMPTED | TERMINATED | STOPPED | STOPPING | DELETING) echo "preempted $node is $state" && return ;;
      *) repairing="repairing $node is $state" ;;
    esac
  done
  echo "${repairing:-ready$notes}"
}

slices_hosts() { # a host a line, in the order of JAX's processes
  local node workers worker
  for node in $(slice_names); do
    workers="$(asked "${TPU[@]}" tpu-vm describe "$node" "${WHERE[@]}" --format='value(networkEndpoints.len())')" ||
      return 1
    dry && workers="$(hosts_of_slice)"
    for ((worker = 0; worker < ${workers:-0}; worker++)); do echo "$node:$worker"; done
  done
}

# gcloud can speak to all workers at once, but then it keeps one exit code, and needs the key in an agent.
slices_ssh() { # HOST COMMAND: the command is one word, which a shell on the host reads
  execute "${TO_HOSTS[@]}" ssh "${1%:*}" "${WHERE[@]}" --worker="${1##*:}" "${REACH[@]}" "${ALIVE[@]}" --quiet \
    --command="$2" < /dev/null
}

slices_send() { # HOST DESTINATION FILE...
  execute "${TO_HOSTS[@]}" scp "${@:3}" "${1%:*}:$2" "${WHERE[@]}" --worker="${1##*:}" "${REACH[@]}" \
    --quiet < /dev/null
}

slices_receive() { # HOST SOURCE DESTINATION: a file or a directory
  execute "${TO_HOSTS[@]}" scp --recurse "${1%:*}:$2" "$3" "${WHERE[@]}" --worker="${1##*:}" "${REACH[@]}" \
    --quiet < /dev/null
}

slices_environment() { ENVIRONMENT=(); } # JAX finds hosts and slices in the machines' metadata

slices_delete() { # --force takes the nodes too
  execute "${TPU[@]}" queued-resources delete "${OPTION[name]}" "${WHERE[@]}" --force --quiet
}
