# shellcheck shell=bash
# Sourced by tpu.sh: what each of its commands does, but supervise.

say() { echo "$(date +%T) $*"; }

do_create() {
  local state
  state="$(slices_state)"
  case "$state" in
    absent*) ;;
    unknown*) echo "error: ${state#unknown }" >&2 && exit 1 ;;
    *) dry || fail "--name=${OPTION[name]} is there already ($state); delete it, or choose another name" ;;
  esac
  slices_create || exit 1
  dry || wait_until_ready || exit 1
}

wait_until_ready() { # says each state once; 1 where it will not come
  local state before="" silent=0
  while :; do
    state="$(slices_state)"
    [ "$state" = "$before" ] || say "${OPTION[name]}: $state"
    before="$state"
    case "$state" in
      ready*) return 0 ;;
      waiting* | repairing*) silent=0 ;;
      unknown*) silent=$((silent + 1)) ;;
      *) return 1 ;;
    esac
    [ "$silent" -lt 20 ] || return 1
    sleep "${OPTION[poll]}"
  done
}

do_start() {
  pack_code
  need_hosts
  deliver || { tell_failures "${HOSTS[@]}" && exit 1; }
  dry || say "installed on ${#HOSTS[@]} hosts"
}

pack_code() { # fills REVISION: a commit, or one made of the files that git tracks as they are now
  local commit="${OPTION[ref]}" untracked
  if [ -z "$commit" ]; then
    in_repository update-index -q --refresh > /dev/null || true # files that were only touched are as they were
    commit="$(in_repository -c user.name=im_jax -c user.email=im_jax@localhost stash create)" ||
      fail "git cannot say what has changed in $REPOSITORY; commit it, and name the commit by --ref"
    commit="${commit:-HEAD}"
    untracked="$(in_repository ls-files --others --exclude-standard | wc -l)"
    [ "$untracked" -eq 0 ] || echo "not copied: $untracked files that git does not track; git add them" >&2
  fi
  REVISION="$(in_repository rev-parse --verify --quiet "$commit^{tree}")" || fail "--ref=$commit is no commit here"
  execute git -C "$REPOSITORY" archive --format=tar.gz --output="$SCRATCH/im_jax_code.tar.gz" "$commit"
}

in_repository() { git -C "$REPOSITORY" "$@"; }

deliver() { # code and host.sh to all hosts, then the installation
  local failed=0
  # The first alone: gcloud may have to make a key and to write it into the project.
  on_hosts send_code "${HOSTS[0]}" || failed=1
  on_hosts send_code "${HOSTS[@]:1}" || failed=1
  [ "$failed" -eq 0 ] && on_hosts install_on "${HOSTS[@]}"
}

send_code() { # HOST: a machine that has just started may not answer yet
  local try
  cp "$LAUNCH/tpu/host.sh" "$SCRATCH/im_jax_host.sh"
  for try in 1 2 3 4 5; do
    slices_send "$1" . "$SCRATCH/im_jax_code.tar.gz" "$SCRATCH/im_jax_host.sh" && return 0
    [ "$try" -eq 5 ] || sleep "${OPTION[retry_pause]}"
  done
  return 1
}

install_on() { on_host "$1" install "$REVISION" "${OPTION[extras]}"; }

on_host() { # HOST WORD...: host.sh there
  local code=0
  slices_ssh "$1" "bash im_jax_host.sh $(quoted "${@:2}")" || code=$?
  [ "$code" -ne 127 ] || echo "nothing of im_jax is there: start comes first" >&2
  return "$code"
}

do_run() {
  need_hosts
  start_everywhere || exit 1
  dry || say "running on ${#HOSTS[@]} hosts; ./launch/tpu.sh logs follows it"
}

start_everywhere() { # or nowhere
  local host started=()
  on_hosts run_on "${HOSTS[@]}" && return 0
  tell_failures "${HOSTS[@]}"
  for host in "${HOSTS[@]}"; do
    [ "${CODE[$host]}" -ne 0 ] || started+=("$host")
  done
  [ "${#started[@]}" -eq 0 ] || on_hosts stop_on "${started[@]}" || tell_failures "${started[@]}"
  return 1
}

run_on() { # HOST
  local ENVIRONMENT=()
  slices_environment "$1"
  on_host "$1" run "${ENVIRONMENT[@]}" "${COMMAND[@]}"
}

stop_on() { on_host "$1" stop "${OPTION[grace]:-0}"; }

status_on() { # HOST: also of one where nothing of ours is, as on a machine that was made anew
  local code=0
  on_host "$1" status || code=$?
  [ "$code" -ne 127 ] || { echo none && code=0; }
  return "$code"
}

do_stop() {
  need_hosts
  on_hosts stop_on "${HOSTS[@]}" || { tell_failures "${HOSTS[@]}" && exit 1; }
  show_answers
}

do_status() {
  local state
  state="$(slices_state)"
  dry || echo "${OPTION[name]}: $state"
  case "$state" in ready* | repairing*) ;; *) dry || return 0 ;; esac
  need_hosts
  on_hosts status_on "${HOSTS[@]}" || { tell_failures "${HOSTS[@]}" && show_answers && exit 1; }
  show_answers
}

show_answers() {
  local host
  dry && return 0
  for host in "${HOSTS[@]}"; do
    [ "${CODE[$host]}" -ne 0 ] || printf '%s\t%s\n' "$host" "${ANSWER[$host]}"
  done
}

do_logs() {
  local words=(log "${OPTION[lines]}") host
  [ -n "${FLAG[no_follow]:-}" ] || words+=(follow)
  need_hosts
  if [ "${OPTION[host]}" != all ]; then
    need_count host 0
    [ "${OPTION[host]}" -lt "${#HOSTS[@]}" ] || fail "--host=${OPTION[host]}: there are ${#HOSTS[@]}, counted from 0"
    on_host "${HOSTS[${OPTION[host]}]}" "${words[@]}"
    return
  fi
  set -m # so that what follows the hosts can be ended with this script
  trap end_following INT TERM
  for host in "${HOSTS[@]}"; do
    on_host "$host" "${words[@]}" | sed -u "s|^|$host: |" &
  done
  wait
}

end_following() {
  local job
  for job in $(jobs -p); do kill -- "-$job" 2> /dev/null || true; done
  exit 130
}

do_fetch() {
  local to="${OPTION[output]}"
  need_hosts
  execute mkdir -p "$to/logs"
  on_hosts fetch_log "${HOSTS[@]}" || { tell_failures "${HOSTS[@]}" && exit 1; }
  case "${OPTION[workdir]}" in
    '') ;;
    gs://*)
      execute gcloud storage rsync --recursive "${OPTION[workdir]}" "$to/workdir" --project="${OPTION[project]}"
      ;;
    *)
      [ ! -e "$to/workdir" ] || fail "$to/workdir is there already; choose another --output"
      slices_receive "${HOSTS[0]}" "${OPTION[workdir]}" "$to/workdir"
      ;;
  esac
}

fetch_log() { slices_receive "$1" im_jax/log.txt "${OPTION[output]}/logs/${1//:/-}.txt"; }

do_delete() { slices_delete; }
