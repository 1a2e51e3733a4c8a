# shellcheck shell=bash
# Sourced by cpu_pod.sh: processes that are started, signalled and ended together.

PROCESSES=() PREFIXES=() # process numbers of the system: those started, and those that put a number before each line
declare -A NUMBER=() ENDED_WITH=()
POD="$(mktemp -d)"
TIMER=""
trap 'rm -r -- "$POD"' EXIT

start_process() { # NUMBER COMMAND...
  local number="$1"
  shift
  if dry; then
    execute "$@"
    return
  fi
  mkfifo "$POD/$number"
  # Each in a process group of its own, so that the terminal's Ctrl-C reaches them once, through here.
  set -m
  (trap '' INT TERM HUP && exec sed -u "s/^/[$number] /" < "$POD/$number" 3>&-) &
  PREFIXES+=("$!")
  "$@" > "$POD/$number" 2>&1 < /dev/null 3>&- &
  set +m
  PROCESSES+=("$!")
  NUMBER[$!]="$number"
}

end_with_them() { # waits for all, ends what a failure leaves behind, and exits with the worst code
  local pid code
  trap 'pass_on TERM' TERM
  trap 'pass_on INT' INT
  trap 'pass_on HUP' HUP
  while [ "${#ENDED_WITH[@]}" -lt "${#PROCESSES[@]}" ]; do
    for pid in "${PROCESSES[@]}"; do
      if [ -n "${ENDED_WITH[$pid]:-}" ] || kill -0 "$pid" 2> /dev/null; then continue; fi
      wait "$pid" 2> /dev/null && code=0 || code=$?
      ENDED_WITH[$pid]="$code"
      after_end "$code" "${NUMBER[$pid]}"
    done
    sleep 0.1 || true # a signal is passed on between two of these, and Ctrl-C ends this one
  done
  [ -z "$TIMER" ] || kill -- "-$TIMER" 2> /dev/null || true
  # What a killed process has left behind would keep the output open.
  for pid in "${PROCESSES[@]}"; do kill -KILL -- "-$pid" 2> /dev/null || true; done
  wait "${PREFIXES[@]}" || true
  exit "$WORST"
}

after_end() { # CODE NUMBER
  # What a signal from here has ended says nothing of what was wrong.
  if [ ! -e "$POD/ending" ] || [[ "$1" != 143 && "$1" != 137 ]]; then worst "$1"; fi
  [ "$1" -ne 0 ] || return 0
  echo "process $2 ended with exit code $1" >&2
  [ -n "$TIMER" ] || end_the_others "$1"
}

pass_on() { # SIGNAL
  local pid
  for pid in "${PROCESSES[@]}"; do
    [ -n "${ENDED_WITH[$pid]:-}" ] || kill "-$1" "$pid" 2> /dev/null || true
  done
}

WORST=0
worst() { # CODE: keeps the gravest, and of equals the first
  [ "$(gravity "$1")" -le "$(gravity "$WORST")" ] || WORST="$1"
}

gravity() { # CODE
  case "$1" in
    0) echo 0 ;;
    42) echo 1 ;;
    43) echo 2 ;;
    2) echo 4 ;;
    *) echo 3 ;;
  esac
}

end_the_others() { # CODE of the one that has ended: SIGTERM, at once or after the time of grace, then SIGKILL
  local first=0
  case "$1" in 42 | 43) first="${OPTION[grace]}" ;; esac
  set -m
  (sleep "$first" && touch "$POD/ending" && pass_on TERM && sleep "${OPTION[grace]}" && pass_on KILL) 3>&- &
  set +m
  TIMER=$!
}
