#!/usr/bin/env bash
# On a host of a slice: unpacks and installs the code, and looks after one run. tpu.sh copies it there and calls it.
#
#   bash im_jax_host.sh install REVISION EXTRAS    from ~/im_jax_code.tar.gz
#   bash im_jax_host.sh run WORD...                in the background; it outlives the connection
#   bash im_jax_host.sh status                     none | running PID | ended CODE [bad_node] | lost, then the last line
#   bash im_jax_host.sh command                    what was started last
#   bash im_jax_host.sh log LINES [follow]
#   bash im_jax_host.sh stop SECONDS               SIGTERM, and SIGKILL after so many seconds
set -euo pipefail
umask 077

ROOT="$HOME/im_jax"
RUN="$ROOT/run" # command, pid, boot, offset (where the output begins in the log), exit_code at the end
LOG="$ROOT/log.txt"
# What libtpu and its driver say where the TPU of a host cannot be opened: another machine is needed.
BAD_NODE="Couldn't open iommu group|open\\(/dev/vfio|TPU initialization failed|No accelerator found"

boot() { cat /proc/sys/kernel/random/boot_id; }

alive() { # is the run's process there? A number that was given away before the machine was started anew is not.
  [ -s "$RUN/pid" ] && [ "$(cat "$RUN/boot")" = "$(boot)" ] && kill -0 "$(cat "$RUN/pid")" 2> /dev/null
}

going() { [ ! -e "$RUN/exit_code" ] && alive; }

install_code() { # REVISION EXTRAS
  ! going || refuse "a run is going on here, and its code cannot change under it; stop it first"
  mkdir -p "$ROOT"
  rm -rf "$ROOT/code.new" "$ROOT/code.old"
  mkdir "$ROOT/code.new"
  tar -xzf "$HOME/im_jax_code.tar.gz" -C "$ROOT/code.new"
  [ ! -e "$ROOT/code" ] || mv "$ROOT/code" "$ROOT/code.old"
  mv "$ROOT/code.new" "$ROOT/code"
  echo "$1" > "$ROOT/revision"
  export IM_JAX_VENV="$ROOT/venv"
  find_python
  # shellcheck source=launch/environment.sh
  source "$ROOT/code/launch/environment.sh"
  install_into_venv "$2"
  echo "installed $1"
}

find_python() { # PYTHON, of 3.11 or newer; images of TPU VMs have older ones
  local name
  [ ! -x "$IM_JAX_VENV/bin/python" ] || return 0
  for name in python3.12 python3.13 python3.11 python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      export PYTHON="$name"
      return 0
    fi
  done
  echo "no Python 3.11 or newer here: getting 3.12 through uv"
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv ||
    refuse "uv cannot be installed; choose an image that has Python 3.11 or newer, with venv"
  python3 -m uv venv --quiet --seed --python 3.12 "$IM_JAX_VENV"
}

start_run() { # WORD...
  [ -d "$ROOT/code" ] || refuse "no code is here; start comes before run"
  ! going || refuse "a run is going on here (process $(cat "$RUN/pid")); stop it first"
  rm -rf "$RUN"
  mkdir -p "$RUN"
  touch "$LOG"
  stat -c %s "$LOG" > "$RUN/offset"
  printf '%q ' "$@" > "$RUN/command"
  cd "$ROOT/code"
  PATH="$ROOT/venv/bin:$PATH" setsid nohup bash "$HOME/im_jax_host.sh" watch "$@" >> "$LOG" 2>&1 < /dev/null &
  for _ in $(seq 100); do
    [ ! -s "$RUN/pid" ] || { echo "running $(cat "$RUN/pid")" && return 0; }
    sleep 0.1
  done
  refuse "the run did not begin within 10 seconds; see $LOG"
}

# Keeps the exit code. A machine that is shut down sends SIGTERM to all processes, this one too: it stays until the run
# has saved, and passes nothing on, since a second SIGTERM would end a run that is saving.
watch_run() { # WORD...
  local pid code again
  set -m # of its own process group, and not with SIGINT ignored
  trap 'again=1' TERM INT HUP
  export PYTHONUNBUFFERED=1 # what is printed is in the log at once
  echo "=== $(date -u +%FT%TZ) $(cat "$RUN/command")"
  "$@" &
  pid=$!
  boot > "$RUN/boot"
  echo "$pid" > "$RUN/pid.new"
  mv "$RUN/pid.new" "$RUN/pid"
  code=0
  while :; do
    again=""
    wait "$pid" && code=0 || code=$?
    [ -n "$again" ] || break
  done
  echo "=== $(date -u +%FT%TZ) ended with exit code $code"
  echo "$code" > "$RUN/exit_code.new"
  mv "$RUN/exit_code.new" "$RUN/exit_code"
}

status_of_run() {
  local last=""
  [ ! -s "$LOG" ] || last="$(tail -c 2000 "$LOG" | tr '\r' '\n' | grep -v '^=== ' | tail -n 1 | cut -c 1-200 || true)"
  if [ ! -s "$RUN/pid" ]; then
    echo none
  elif [ -e "$RUN/exit_code" ]; then
    printf 'ended %s%s\t%s\n' "$(cat "$RUN/exit_code")" "$(mark)" "$last"
  elif alive; then
    printf 'running %s\t%s\n' "$(cat "$RUN/pid")" "$last"
  else
    printf 'lost\t%s\n' "$last"
  fi
}

mark() { # of a run that has failed because this machine's TPU does not work
  [ "$(cat "$RUN/exit_code")" -ne 0 ] || return 0
  if tail -c "+$(($(cat "$RUN/offset") + 1))" "$LOG" | grep -qE "$BAD_NODE"; then echo " bad_node"; fi
}

show_log() { # LINES [follow]: up to the line that the run ended with
  local at size over=""
  [ -e "$LOG" ] || refuse "nothing was run here yet"
  at="$(stat -c %s "$LOG")"
  { head -c "$at" "$LOG" | tail -n "$1"; } || true
  [ "${2:-}" = follow ] || return 0
  while [ -z "$over" ]; do
    going || { over=yes && wait_for_end 10; }
    size="$(stat -c %s "$LOG")"
    if [ "$size" -gt "$at" ]; then { tail -c "+$((at + 1))" "$LOG" | head -c "$((size - at))"; } || true; fi
    at="$size"
    [ -n "$over" ] || sleep 0.5
  done
}

wait_for_end() { # TENTHS: the exit code is written a moment after the run has gone
  local waited=0
  while [ -e "$RUN/pid" ] && [ ! -e "$RUN/exit_code" ] && [ "$waited" -lt "$1" ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
}

stop_run() { # SECONDS
  local pid waited=0
  going || { status_of_run && return 0; }
  pid="$(cat "$RUN/pid")"
  kill -TERM "$pid" 2> /dev/null || true
  while going; do
    if [ "$waited" -ge "$((10 * $1))" ]; then
      kill -KILL -- "-$pid" 2> /dev/null || true
      echo "killed after $1 seconds"
      return 1
    fi
    sleep 0.1
    waited=$((waited + 1))
  done
  wait_for_end 20
  status_of_run
}

refuse() {
  echo "error: $(uname -n): $*" >&2
  exit 1
}

what="${1:-}"
shift || true
case "$what" in
  install) install_code "$@" ;;
  run) start_run "$@" ;;
  watch) watch_run "$@" ;;
  status) status_of_run ;;
  command) cat "$RUN/command" ;;
  log) show_log "$@" ;;
  stop) stop_run "$@" ;;
  *) refuse "im_jax_host.sh install|run|status|log|stop" ;;
esac
