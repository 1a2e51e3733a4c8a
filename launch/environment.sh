# shellcheck shell=bash
# Sourced by the other scripts: makes .venv (or $IM_JAX_VENV) and installs the package with its extras.
#
#   source launch/environment.sh; install_into_venv EXTRAS     then run "$VENV/bin/python"
#
# The interpreter is $PYTHON, else python3; it must be 3.11 or newer. Nothing is installed again while
# setup.py and constraints.txt stay what they were.

REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${IM_JAX_VENV:-$REPOSITORY/.venv}"

install_into_venv() {
  local extras="$1" python="${PYTHON:-python3}" stamp wanted
  if [ ! -x "$VENV/bin/python" ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "error: $python is not Python 3.11 or newer; set PYTHON to one, as in PYTHON=python3.12 $0" >&2
      return 2
    fi
    echo "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV"
  fi
  stamp="$VENV/installed${extras:+-$extras}"
  wanted="$(cat "$REPOSITORY/setup.py" "$REPOSITORY/constraints.txt" | sha256sum)"
  if [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "installing im_jax${extras:+[$extras]} into $VENV: some minutes, once; below, pip says what it fetches"
    "$VENV/bin/python" -m pip install --disable-pip-version-check \
      --constraint "$REPOSITORY/constraints.txt" --editable "$REPOSITORY${extras:+[$extras]}"
    echo "$wanted" > "$stamp"
  fi
}
