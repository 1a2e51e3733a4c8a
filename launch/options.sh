# shellcheck shell=bash
# Sourced by the scripts that start runs: options of the form --name=value, errors in one line, and `--dry_run`.
#
#   read_options "name zone" "dry_run" "$@"    fills OPTION[name], FLAG[dry_run], COMMAND (what stands after --)
#
# A value that is not given comes from the environment: --num_slices from $IM_JAX_NUM_SLICES, and so on.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "error: this needs bash 4.4 or newer, and $BASH is $BASH_VERSION; on macOS: brew install bash" >&2
  exit 2
fi

declare -A OPTION=() FLAG=()
COMMAND=()

fail() { # MESSAGE...: a mistake of whoever called; the exit code is that of a mistake in a configuration
  echo "error: $*" >&2
  exit 2
}

read_options() { # NAMES FLAGS ARGUMENT...
  local names=" $1 " flags=" $2 " name variable
  shift 2
  for name in $names; do
    variable="IM_JAX_${name^^}"
    OPTION[$name]="${!variable:-}"
  done
  while [ "$#" -gt 0 ]; do
    case "$1" in
      --)
        shift
        COMMAND=("$@")
        return 0
        ;;
      --*=*)
        name="${1%%=*}"
        name="${name#--}"
        case "$names" in
          *" $name "*) OPTION[$name]="${1#*=}" ;;
          *) fail "--$name is no option here; --help shows them" ;;
        esac
        ;;
      --*)
        name="${1#--}"
        case "$flags" in
          *" $name "*) FLAG[$name]=1 ;;
          *)
            case "$names" in
              *" $name "*) fail "--$name needs a value: --$name=VALUE" ;;
              *) fail "--$name is no option here; --help shows them" ;;
            esac
            ;;
        esac
        ;;
      *) fail "$1 is no option; options are written --name=VALUE, and a command stands behind --" ;;
    esac
    shift
  done
}

default() { # NAME VALUE: what an option is where nobody has said
  [ -n "${OPTION[$1]:-}" ] || OPTION[$1]="$2"
}

need() { # NAME WHAT: stops where an option is missing
  [ -n "${OPTION[$1]:-}" ] || fail "--$1 is missing: $2"
}

need_count() { # NAME LEAST: stops where an option is no whole number of at least LEAST
  case "${OPTION[$1]}" in
    '' | *[!0-9]* | ??????????*) fail "--$1=${OPTION[$1]} is not a whole number" ;;
  esac
  OPTION[$1]=$((10#${OPTION[$1]}))
  [ "${OPTION[$1]}" -ge "$2" ] || fail "--$1=${OPTION[$1]} must be $2 or more"
}

need_choice() { # NAME CHOICE...: stops where an option is none of the choices
  local name="$1" choice
  shift
  for choice in "$@"; do
    [ "${OPTION[$name]}" != "$choice" ] || return 0
  done
  fail "--$name=${OPTION[$name]} must be one of: $*"
}

need_name() { # a name as Google's services and Kubernetes take it
  local LC_ALL=C
  [[ "${OPTION[name]}" =~ ^[a-z]([-a-z0-9]{0,47}[a-z0-9])?$ ]] ||
    fail "--name=${OPTION[name]} must be small letters, digits and hyphens, with a letter first, 49 at most"
}

need_program() { # PROGRAM HOW: stops where a program is not installed, unless nothing is run
  dry || command -v "$1" > /dev/null || fail "$1 is not installed; $2"
}

quoted() { # WORD...: as a shell reads them back, whatever is in them
  local words
  printf -v words '%q ' "$@"
  printf '%s' "${words% }"
}

dry() { [ -n "${FLAG[dry_run]:-}" ]; }

exec 3>&1
execute() { # COMMAND...: runs it, or shows it where --dry_run is given, also where its output is read
  if dry; then
    printf '%s\n' "$(quoted "$@")" >&3
  else
    "$@" 3>&-
  fi
}
