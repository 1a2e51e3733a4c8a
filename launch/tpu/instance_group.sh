# shellcheck shell=bash
# Sourced by tpu.sh: slices as managed instance groups of Compute Engine (tpu7x), one a slice. A host is
# an instance.

WHERE=(--project="${OPTION[project]}" --zone="${OPTION[zone]}") REACH=()
case "${OPTION[ssh]}" in
  internal) REACH=(--internal-ip) ;;
  iap) REACH=(--tunnel-through-iap) ;;
esac
ALIVE=(--ssh-flag=-oServerAliveInterval=30) # a run may be silent for longer than a network keeps a connection

slices_create() {
  local group policy=() region="${OPTION[zone]%-*}" project=(--project="${OPTION[project]}")
  # A slice of one host needs no policy that lays out its hosts.
  if [ "$(hosts_of_slice)" -gt 1 ]; then
    execute gcloud compute resource-policies create workload-policy "${OPTION[name]}" "${project[@]}" \
      --region="$region" --type=HIGH_THROUGHPUT --accelerator-topology="$SHAPE" --quiet || return 1
    policy=(--workload-policy="projects/${OPTION[project]}/regions/$region/resourcePolicies/${OPTION[name]}")
  fi
  create_template || return 1
  for group in $(slice_names); do
    execute gcloud compute instance-groups managed create "$group" "${project[@]}" --zone="${OPTION[zone]}" \
      --template="${OPTION[name]}" --size="$(hosts_of_slice)" --default-action-on-vm-failure=do-nothing \
      "${policy[@]}" --quiet || return 1
  done
}

create_template() {
  local more=()
  case "${OPTION[provisioning]}" in
    spot) more+=(--provisioning-model=SPOT --instance-termination-action=STOP) ;;
    reserved)
      more+=(--provisioning-model=RESERVATION_BOUND --instance-termination-action=DELETE
        --reservation-affinity=specific --reservation="${OPTION[reservation]}")
      ;;
  esac
  [ "${OPTION[address]}" = external ] || more+=(--no-address)
  [ -z "${OPTION[network]}" ] || more+=(--network="${OPTION[network]}")
  [ -z "${OPTION[subnetwork]}" ] || more+=(--subnet="${OPTION[subnetwork]}" --region="${OPTION[zone]%-*}")
  [ -z "${OPTION[service_account]}" ] || more+=(--service-account="${OPTION[service_account]}")
  [ -z "${OPTION[labels]}" ] || more+=(--labels="${OPTION[labels]}")
  execute gcloud compute instance-templates create "${OPTION[name]}" --project="${OPTION[project]}" \
    --machine-type=tpu7x-standard-4t --maintenance-policy=TERMINATE \
    --image-project=ubuntu-os-accelerator-images --image-family=ubuntu-accel-2404-amd64-tpu-tpu7x \
    --boot-disk-type=hyperdisk-balanced --boot-disk-size="${OPTION[disk_gb]}GB" --scopes=cloud-platform \
    "${more[@]}" --quiet
}

instances() { # GROUP: a line for each instance, its name and state
  asked gcloud compute instance-groups managed list-instances "$1" "${WHERE[@]}" \
    --format='value(name,instanceStatus)'
}

slices_state() { # one word, and a reason: absent waiting ready preempted unknown
  local group name state listed count waiting=""
  for group in $(slice_names); do
    listed="$(instances "$group")" || { echo "$listed" && return; }
    count=0
    while read -r name state; do
      case "$state" in
        RUNNING) count=$((count + 1)) ;;
        STOPPING | STOPPED | TERMINATED | SUSPENDING | SUSPENDED) echo "preempted $name is $state" && return ;;
      esac
    done <<< "$listed"
    [ "$count" -eq "$(hosts_of_slice)" ] || waiting="waiting $group has $count of $(hosts_of_slice) hosts"
  done
  echo "${waiting:-ready}"
}

slices_hosts() {
  local group listed at
  for group in $(slice_names); do
    listed="$(instances "$group")" || return 1
    if dry; then
      for ((at = 0; at < $(hosts_of_slice); at++)); do echo "$group-$at"; done
    else
      cut -f1 <<< "$listed" | sort
    fi
  done
}

# Instance groups know nothing of each other: several slices are told where the first one is. One slice is found by JAX.
slices_environment() { # HOST: fills ENVIRONMENT, which is put in front of the command
  local group at=0
  ENVIRONMENT=()
  [ "${OPTION[num_slices]}" -gt 1 ] || return 0
  for group in $(slice_names); do
    [ "$group" = "${1%-*}" ] && break
    at=$((at + 1))
  done
  ENVIRONMENT=(env "MEGASCALE_COORDINATOR_ADDRESS=${HOSTS[0]}" "MEGASCALE_NUM_SLICES=${OPTION[num_slices]}"
    "MEGASCALE_SLICE_ID=$at")
}

slices_ssh() { # HOST COMMAND
  execute gcloud compute ssh "$1" "${WHERE[@]}" "${REACH[@]}" "${ALIVE[@]}" --quiet --command="$2" < /dev/null
}

slices_send() { # HOST DESTINATION FILE...
  execute gcloud compute scp "${@:3}" "$1:$2" "${WHERE[@]}" "${REACH[@]}" \
    --quiet < /dev/null
}

slices_receive() { # HOST SOURCE DESTINATION
  execute gcloud compute scp --recurse "$1:$2" "$3" --project="${OPTION[project]}" --zone="${OPTION[zone]}" \
    "${REACH[@]}" --quiet < /dev/null
}

slices_delete() { # what is not there any more is passed over
  local group listed failed=0
  for group in $(slice_names); do
    deleted instance-groups managed delete "$group" --zone="${OPTION[zone]}" || failed=1
  done
  deleted instance-templates delete "${OPTION[name]}" || failed=1
  [ "$(hosts_of_slice)" -eq 1 ] ||
    deleted resource-policies delete "${OPTION[name]}" --region="${OPTION[zone]%-*}" || failed=1
  return "$failed"
}

deleted() { # COMMAND...
  local said
  said="$(asked gcloud compute "$@" --project="${OPTION[project]}" --quiet)" || [[ "$said" == absent* ]] ||
    { echo "error: $said" >&2 && return 1; }
}
