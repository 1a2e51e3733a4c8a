# shellcheck shell=bash
# Sourced by tpu.sh: what came of a run, by what each host says of it. The exit codes are im_jax's: 0 done, 1 failed,
# 2 a mistake in the configuration, 42 preempted and saved, 43 a peer was lost.

ENDED=() GOING=() DUMB=()
declare -A CRASHES=() # by host: how often in a row its run ended by 139, a segmentation fault

sort_answers() { # ENDED: also where the machine was started anew; DUMB: where nobody answers
  local host
  ENDED=() GOING=() DUMB=()
  for host in "${HOSTS[@]}"; do
    case "${CODE[$host]}:${ANSWER[$host]}" in
      0:running*) GOING+=("$host") ;;
      0:*) ENDED+=("$host") ;;
      *) DUMB+=("$host") ;;
    esac
  done
}

ended_with() { # HOST: the exit code of its run, or lost
  local words
  read -ra words <<< "${ANSWER[$1]%%$'\t'*}"
  if [ "${words[0]}" = ended ]; then echo "${words[1]}"; else echo lost; fi
}

judge() { # the outcome by those that have ended; the gravest decides
  local host code lost="" saved="" peer="" failed=() aborted=()
  end_attempt "done" "on all hosts"
  for host in "${ENDED[@]}"; do
    code="$(ended_with "$host")"
    [[ "${ANSWER[$host]%%$'\t'*}" != *bad_node ]] || { end_attempt replace "$host cannot open its TPU" && return; }
    case "$code" in
      0) ;;
      2) end_attempt configuration "$host ended with 2: $(last_line "$host")" && return ;;
      42) saved+=" $host" ;;
      43) peer+=" $host" ;;
      lost) lost+=" $host" ;;
      134) aborted+=("$host") ;;
      *) failed+=("$host") ;;
    esac
  done
  # 134 is JAX's way to end both where a peer is lost and where something is wrong here.
  if [ "${#failed[@]}" -gt 0 ] || { [ "${#aborted[@]}" -gt 0 ] && [ -z "$lost$saved$peer" ]; }; then
    judge_failure "${failed[@]}" "${aborted[@]}"
  elif [ -n "$lost$saved$peer" ]; then
    end_attempt preempted "saved:${saved:- none}, a peer was lost:${peer:- none}, started anew:${lost:- none}"
  fi
}

judge_failure() { # HOST...
  local host="$1" code
  code="$(ended_with "$host")"
  if [ "$code" = 139 ] && [ "${#GOING[@]}" -eq 0 ]; then
    CRASHES[$host]=$((${CRASHES[$host]:-0} + 1))
    if [ "${CRASHES[$host]}" -ge 2 ]; then
      end_attempt replace "$host ended with 139 twice in a row"
      CRASHES=()
      return
    fi
  elif [ "$code" != 139 ]; then
    CRASHES=()
  fi
  end_attempt failed "$host ended with $code: $(last_line "$host")"
}

last_line() { # HOST: of its output
  [[ "${ANSWER[$1]}" != *$'\t'* ]] || echo "${ANSWER[$1]#*$'\t'}"
}
