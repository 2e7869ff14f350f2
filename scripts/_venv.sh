# Sourced by the scripts beside it: moves to the project's folder and offers
#   ensure_venv FILE...    .venv with the packages of these requirement files; its interpreter is then $python
#   store_dir ARGS...      the folder that main.py, given ARGS, stores its runs in
# PYTHON=/path/to/python names the interpreter that .venv is made with.

case "${PYTHON:-}" in
  /*) ;;
  */*) PYTHON="$PWD/$PYTHON" ;;
esac
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python

# A name on the PATH proves little (version managers leave stubs that fail): each candidate is asked.
usable_python() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    if usable_python "$PYTHON"; then
      printf '%s\n' "$PYTHON"
      return 0
    fi
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer with the venv module; name another, or unset it" >&2
    return 1
  fi
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if usable_python "$candidate"; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  echo "found no Python 3.11 or newer with the venv module: install one (Debian and Ubuntu: python3 and python3-venv)," \
    "or name it: PYTHON=/path/to/python bash $0" >&2
  return 1
}

ensure_venv() {
  local base file stamp
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    base="$(find_python)" || return 1
    echo "making .venv with $base ($("$base" -c 'import platform; print(platform.python_version())'))"
    "$base" -m venv --clear .venv || return 1
  fi
  for file in "$@"; do
    # The stamp is a copy of what was installed: an equal one means that there is nothing to do.
    stamp=".venv/installed-$file"
    if ! cmp -s "$file" "$stamp"; then
      echo "installing $file into .venv (the first time takes some minutes)"
      "$python" -m pip install --quiet --quiet --disable-pip-version-check -r "$file" || return 1
      cp "$file" "$stamp"
    fi
  done
}

store_dir() {
  local folder=output
  while [ $# -gt 0 ]; do
    case "$1" in
      --store_dir=*) folder="${1#--store_dir=}" ;;
      --store_dir) folder="${2:-output}" ;;
    esac
    shift
  done
  printf '%s\n' "$folder"
}
