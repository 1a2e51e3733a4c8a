# shellcheck shell=bash
# Sourced by tpu.sh: rents, starts and looks after a command until it is done, whatever is taken away meanwhile.

PREEMPTIONS=0 FAILURES=0 REPLACEMENTS=0 RENTED=""
OUTCOME="" REASON="" # of an attempt: done, configuration, preempted, failed, replace or given_up, and why

do_supervise() {
  pack_code
  if dry; then
    do_create && do_start && do_run && do_status
    return
  fi
  trap 'say "no longer supervised; the run goes on: stop ends it, delete gives the slices back"; exit 130' INT TERM
  while :; do
    OUTCOME="" REASON=""
    attempt
    say "$OUTCOME: $REASON"
    case "$OUTCOME" in
      done) finish 0 ;;
      configuration) finish 2 ;;
      given_up) finish 1 ;;
      preempted) PREEMPTIONS=$((PREEMPTIONS + 1)) ;;
      failed) FAILURES=$((FAILURES + 1)) ;;
      replace) REPLACEMENTS=$((REPLACEMENTS + 1)) ;;
    esac
    { [ "$PREEMPTIONS" -le "${OPTION[max_preemptions]}" ] && [ "$FAILURES" -le "${OPTION[max_failures]}" ] &&
      [ "$REPLACEMENTS" -le "${OPTION[max_replacements]}" ]; } || finish 1
    [ "$OUTCOME" != replace ] || { slices_delete || true; } && sleep "${OPTION[poll]}"
  done
}

finish() { # EXIT_CODE
  say "preemptions: $PREEMPTIONS, failures: $FAILURES, replacements: $REPLACEMENTS"
  if [ "${OPTION[when_done]}" = delete ]; then slices_delete || true; fi
  exit "$1"
}

end_attempt() { # OUTCOME REASON...
  OUTCOME="$1" REASON="${*:2}"
}

attempt() {
  have_slices || return 0
  if ! read_hosts; then
    end_attempt replace "the hosts are not known"
  elif going_already || started; then
    watch_hosts
  fi
}

have_slices() { # rented and ready; else 1, and the outcome
  local state silent=0
  while state="$(slices_state)" && [[ "$state" == unknown* ]]; do
    silent=$((silent + 1))
    [ "$silent" -lt "${OPTION[max_silence]}" ] || { end_attempt given_up "${state#unknown }" && return 1; }
    sleep "${OPTION[poll]}"
  done
  case "$state" in
    preempted* | failed*)
      say "giving back what is left: $state"
      slices_delete || { end_attempt replace "cannot be given back" && return 1; }
      state=absent
      ;;
  esac
  if [ "$state" = absent ]; then
    say "renting ${OPTION[num_slices]} x ${OPTION[topology]}"
    if ! slices_create; then
      # What is refused the first time is a mistake or a missing right; later, it was possible before.
      end_attempt "$([ -n "$RENTED" ] && echo replace || echo given_up)" "the slices are refused"
      return 1
    fi
  fi
  wait_until_ready || { end_attempt replace "the slices could not be had" && return 1; }
  RENTED=yes
}

going_already() { # on all hosts, so that there is nothing to start
  local host there going=()
  on_hosts status_on "${HOSTS[@]}" || true
  for host in "${HOSTS[@]}"; do
    [[ "${ANSWER[$host]}" != running* ]] || going+=("$host")
  done
  [ "${#going[@]}" -gt 0 ] || return 1
  there="$(on_host "${going[0]}" command || true)"
  [[ " $there" == *" $(quoted "${COMMAND[@]}") " ]] ||
    fail "another run is going on there; stop it first: $there"
  if [ "${#going[@]}" -eq "${#HOSTS[@]}" ]; then
    say "it runs already: watching"
    return 0
  fi
  stop_soon "${going[@]}"
  return 1
}

started() { # code and command on all hosts; else 1, and the outcome
  if ! deliver; then
    after_refusal "the code could not be installed"
  elif ! start_everywhere; then
    after_refusal "the run could not be started"
  else
    say "running on ${#HOSTS[@]} hosts"
    return 0
  fi
  return 1
}

after_refusal() { # WHY: a host that alone does not work is replaced; what no host can do is a failure
  local host state reached=0
  for host in "${HOSTS[@]}"; do
    [ "${CODE[$host]}" -ne 0 ] || reached=$((reached + 1))
  done
  tell_failures "${HOSTS[@]}"
  state="$(slices_state)"
  case "$state" in
    preempted* | absent* | failed*) end_attempt preempted "$state" ;;
    *) end_attempt "$([ "$reached" -gt 0 ] && echo replace || echo failed)" "$1" ;;
  esac
}

watch_hosts() { # until the run has ended on all of them, or must be ended
  local state silent=0 first_end="" cut_off=""
  while :; do
    sleep "${OPTION[poll]}"
    state="$(slices_state)"
    case "$state" in
      preempted* | absent* | failed*) end_attempt preempted "$state" && return ;;
      ready*) ;;
      unknown*) # the fault is on the way to the cloud, and the run goes on
        [ "$state" = "$cut_off" ] || say "waiting: ${state#unknown }"
        cut_off="$state"
        continue
        ;;
      *)
        silent=$((silent + 1))
        [ "$silent" -lt "${OPTION[max_silence]}" ] || { end_attempt replace "$state" && return; }
        continue
        ;;
    esac
    on_hosts status_on "${HOSTS[@]}" || true
    sort_answers
    if [ "${#HOSTS[@]}" -gt 1 ] && [ "${#DUMB[@]}" -eq "${#HOSTS[@]}" ]; then
      [ -n "$cut_off" ] || say "waiting: no host answers, so that the fault is on the way to them"
      cut_off=yes
      continue
    fi
    cut_off=""
    if [ "${#ENDED[@]}" -eq 0 ]; then
      [ "${#DUMB[@]}" -gt 0 ] && silent=$((silent + 1)) || silent=0
      [ "$silent" -lt "${OPTION[max_silence]}" ] || { end_attempt replace "no answer from ${DUMB[*]}" && return; }
      continue
    fi
    : "${first_end:=$SECONDS}"
    judge
    if [ "${#GOING[@]}${#DUMB[@]}" = 00 ]; then return; fi
    if is_one_of "$OUTCOME" "configuration replace" || [ $((SECONDS - first_end)) -ge "${OPTION[grace]}" ]; then
      [ "$OUTCOME" != done ] || end_attempt failed "ended on ${ENDED[*]}, but not on ${GOING[*]} ${DUMB[*]}"
      [ "${#GOING[@]}" -eq 0 ] || stop_soon "${GOING[@]}"
      return
    fi
  done
}

stop_soon() { # HOST...: what is left of a run
  local patience="${OPTION[grace]}"
  [ "$patience" -le 30 ] || OPTION[grace]=30
  on_hosts stop_on "$@" || true
  OPTION[grace]="$patience"
}
