#!/usr/bin/env bash
# Start a run on TPU slices of a GKE cluster, as a JobSet. ./launch/gke/jobset.sh --help
set -euo pipefail
LAUNCH="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=launch/options.sh
source "$LAUNCH/options.sh"
# shellcheck source=launch/tpu/topology.sh
source "$LAUNCH/tpu/topology.sh"

show_help() {
  cat << 'END'
./launch/gke/jobset.sh --name=NAME --topology=v5e:8x8 --image=IMAGE [options] -- COMMAND...

Fills in launch/gke/jobset.yaml and applies it with kubectl, in the cluster that kubectl points to. The cluster needs
JobSet 0.10 or newer and a node pool with the slices. The image holds im_jax with its extra `tpu`.

  --num_slices=1            how many slices, each a node pool
  --namespace=default
  --provisioning=on_demand  spot: on spot nodes
  --max_failures=3          how often a failure starts it again; preemptions are not counted
  --grace=120               seconds from SIGTERM to SIGKILL
  --service_account=default the Kubernetes service account, whose rights on buckets the run has
  --queue=NAME              Kueue: the local queue
  --env=NAME=VALUE          an environment variable; several are separated by new lines, as in --env=$'A=1\nB=2'
  --context=CONTEXT         which cluster, by kubectl's name for it
  --dry_run                 print what would be applied, and apply nothing

  kubectl logs --follow --selector=jobset.sigs.k8s.io/jobset-name=NAME     what the run prints
  kubectl delete jobset NAME                                              saves (SIGTERM) and ends it
END
}

for argument in "$@"; do
  case "$argument" in
    --) break ;;
    --help | -h) show_help && exit 0 ;;
  esac
done
options="name topology image num_slices namespace provisioning max_failures grace service_account queue env context"
read_options "$options" dry_run "$@"
default num_slices 1
default namespace default
default provisioning on_demand
default max_failures 3
default grace 120
default service_account default
need name "what the run is called"
need_name
need image "the container image, as in europe-docker.pkg.dev/PROJECT/REPOSITORY/im_jax"
read_topology
need_count num_slices 1
need_count max_failures 0
need_count grace 0
need_choice provisioning on_demand spot
[ "${#COMMAND[@]}" -gt 0 ] || fail "no command to run: write it behind --, as in -- python -m im_jax.train ..."
need_program kubectl "see https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl"

declare -A ACCELERATOR=([v4]=tpu-v4-podslice [v5e]=tpu-v5-lite-podslice [v5p]=tpu-v5p-slice [v6e]=tpu-v6e-slice
  [tpu7x]=tpu7x)

string() { # WORD: as JSON, which YAML reads too
  local word="$1"
  word="${word//\\/\\\\}" word="${word//\"/\\\"}" word="${word//$'\n'/\\n}" word="${word//$'\t'/\\t}"
  word="${word//$'\r'/\\r}"
  [[ ! "$word" =~ [[:cntrl:]] ]] || fail "a control character is in $(quoted "$1")"
  printf '"%s"' "$word"
}

literal() { # WORD: of a command or a variable, in which Kubernetes would fill in $(NAME)
  string "${1//\$/\$\$}"
}

strings() { # WORD...: a list of literal words
  local word list=""
  for word in "$@"; do list+=", $(literal "$word")"; done
  printf '[%s]' "${list#, }"
}

pairs() { # NAME VALUE...: a mapping
  local list=""
  while [ "$#" -gt 0 ]; do
    list+=", $(string "$1"): $(string "$2")"
    shift 2
  done
  printf '{%s}' "${list#, }"
}

selector=(cloud.google.com/gke-tpu-accelerator "${ACCELERATOR[$GENERATION]}" cloud.google.com/gke-tpu-topology "$SHAPE")
tolerations='{key: google.com/tpu, operator: Exists, effect: NoSchedule}'
if [ "${OPTION[provisioning]}" = spot ]; then
  selector+=(cloud.google.com/gke-spot true)
  tolerations+=', {key: cloud.google.com/gke-spot, operator: Equal, value: "true", effect: NoSchedule}'
fi
labels=()
[ -z "${OPTION[queue]}" ] || labels=(kueue.x-k8s.io/queue-name "${OPTION[queue]}")
environment=', {name: PYTHONUNBUFFERED, value: "1"}' # what is printed is seen at once
while IFS= read -r line; do
  [ -n "$line" ] || continue
  [[ "$line" =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || fail "--env=$line is not NAME=VALUE"
  environment+=", {name: ${line%%=*}, value: $(literal "${line#*=}")}"
done <<< "${OPTION[env]}"

declare -A FILL=(
  [NAME]="$(string "${OPTION[name]}")" [NAMESPACE]="$(string "${OPTION[namespace]}")" [LABELS]="$(pairs "${labels[@]}")"
  [MAX_FAILURES]="${OPTION[max_failures]}" [NUM_SLICES]="${OPTION[num_slices]}" [HOSTS]="$(hosts_of_slice)"
  [GRACE]="${OPTION[grace]}" [SERVICE_ACCOUNT]="$(string "${OPTION[service_account]}")"
  [SELECTOR]="$(pairs "${selector[@]}")"
  [TOLERATIONS]="[$tolerations]" [IMAGE]="$(string "${OPTION[image]}")" [COMMAND]="$(strings "${COMMAND[@]}")"
  [ENVIRONMENT]="[${environment#, }]" [CHIPS_PER_HOST]="$((CHIPS / $(hosts_of_slice)))")

filled_in() {
  local line
  while IFS= read -r line; do
    if [[ "$line" =~ ^(.*)@([A-Z_]+)@(.*)$ ]]; then
      line="${BASH_REMATCH[1]}${FILL[${BASH_REMATCH[2]}]}${BASH_REMATCH[3]}"
    fi
    printf '%s\n' "$line"
  done < "$LAUNCH/gke/jobset.yaml"
}

manifest="$(filled_in)"
words=(apply --filename=-)
[ -z "${OPTION[context]}" ] || words=("--context=${OPTION[context]}" "${words[@]}")
if dry; then
  echo "# $(quoted kubectl "${words[@]}")"
  printf '%s\n' "$manifest"
else
  kubectl "${words[@]}" <<< "$manifest"
fi
