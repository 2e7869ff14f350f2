#!/usr/bin/env bash
# Whether this program works on this machine, correct and fast, in one table; any user's first command on a new GPU.
#   bash scripts/accept_gpu.sh [--device cuda] [--quick | --full] [--data_dir FOLDER] [--only PART ...] [--out FOLDER]
# It needs what requirements.txt names; the part `tests` also pytest and pytest-xdist, and is skipped without them.
# The Python is $PYTHON, that of the active environment, or python3, whichever has these packages; nothing is installed
# then. Only where none has them, .venv is made, for which the network is needed.
set -euo pipefail
here="$PWD"
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

has_packages() {
  "$1" -c '
import sys, importlib.util as found
names = "torch torchvision numpy sklearn joblib yaml tqdm matplotlib pandas PIL".split()
sys.exit(sys.version_info < (3, 11) or not all(map(found.find_spec, names)))' >/dev/null 2>&1
}

chosen=""
for candidate in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" python3 python "$python"; do
  if [ -n "$candidate" ] && has_packages "$candidate"; then
    chosen="$candidate"
    break
  fi
done
if [ -z "$chosen" ]; then
  if ! ensure_venv requirements.txt requirements-test.txt; then
    echo "no Python here has the packages of requirements.txt, and they could not be installed:" \
      "install them, or name a Python that has them: PYTHON=/path/to/python bash $0" >&2
    exit 2
  fi
  chosen="$python"
fi
echo "Python: $(command -v "$chosen")"

# Paths count from where the command was given, and this script has moved to the project's folder.
from_there() {
  case "$1" in /* | "") printf '%s' "$1" ;; *) printf '%s' "$here/$1" ;; esac
}
arguments=()
previous=""
for argument in "$@"; do
  case "$previous $argument" in
    "--data_dir "* | "--out "*) arguments+=("$(from_there "$argument")") ;;
    *" --data_dir="* | *" --out="*) arguments+=("${argument%%=*}=$(from_there "${argument#*=}")") ;;
    *) arguments+=("$argument") ;;
  esac
  previous="$argument"
done
exec "$chosen" -m scripts.acceptance ${arguments[@]+"${arguments[@]}"}
