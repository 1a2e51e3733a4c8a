# shellcheck shell=bash
# Sourced by tpu.sh: doing one thing on all hosts, some at a time, and keeping what each of them answered.

HOSTS=()
declare -A ANSWER=() SAID=() CODE=() # by host: standard output, standard error, exit code
SCRATCH="$(mktemp -d)"
trap 'rm -r -- "$SCRATCH"' EXIT

slice_names() { # as the nodes of a queued resource, or the groups, are called
  local at
  if [ "${OPTION[num_slices]}" -eq 1 ]; then
    echo "${OPTION[name]}"
  else
    for ((at = 0; at < OPTION[num_slices]; at++)); do echo "${OPTION[name]}-$at"; done
  fi
}

read_hosts() { # fills HOSTS; 1 where they cannot be asked for
  local listed
  listed="$(slices_hosts)" || return 1
  [ -n "$listed" ] || return 1
  mapfile -t HOSTS <<< "$listed"
}

need_hosts() {
  read_hosts && return
  echo "error: the hosts of ${OPTION[name]} are not known; ./launch/tpu.sh status says why" >&2
  exit 1
}

on_hosts() { # FUNCTION HOST...: calls FUNCTION HOST for each; 1 where one failed
  local what="$1" host failed=0
  shift
  if dry; then
    for host in "$@"; do "$what" "$host"; done
    return 0
  fi
  for host in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "${OPTION[parallel]}" ]; do wait -n || true; done
    keep_answer "$what" "$host" &
  done
  wait
  for host in "$@"; do
    ANSWER[$host]="$(cat "$SCRATCH/$host.out")" SAID[$host]="$(cat "$SCRATCH/$host.err")"
    CODE[$host]="$(cat "$SCRATCH/$host.code")"
    [ "${CODE[$host]}" -eq 0 ] || failed=1
  done
  return "$failed"
}

keep_answer() { # FUNCTION HOST
  local code=0
  "$1" "$2" > "$SCRATCH/$2.out" 2> "$SCRATCH/$2.err" || code=$?
  echo "$code" > "$SCRATCH/$2.code"
}

tell_failures() { # HOST...: names those that failed, with the last that they said
  local host
  for host in "$@"; do
    [ "${CODE[$host]}" -ne 0 ] || continue
    echo "error: $host: exit code ${CODE[$host]}: $(tail -n 3 <<< "${SAID[$host]:-${ANSWER[$host]}}")" >&2
  done
}

asked() { # COMMAND...: its output; where it fails, "absent ..." or "unknown ..." and 1: not knowing is not being absent
  local said errors="$SCRATCH/asked.$BASHPID"
  if said="$(execute "$@" 2> "$errors")"; then
    printf '%s\n' "$said"
    return 0
  fi
  said="$(tail -n 3 "$errors" | tr '\n' ' ')"
  if grep -qiE 'not_found|not found' <<< "$said"; then echo "absent"; else echo "unknown $said"; fi
  return 1
}
