# Sourced by accept_gpu.sh and pack_for_gpu.sh: moves to the project's folder, and gives
#   $chosen       a Python that has the packages of requirements.txt: $PYTHON, that of the active environment, python3,
#                 or .venv, which is only made, for which the network is needed, where none of them has
#   $GIVEN_FROM   where the command was given, from where its paths count

export GIVEN_FROM="$PWD"
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

has_packages() {
  "$1" -c '
import sys, importlib.util as found
names = "torch torchvision numpy scipy sklearn joblib yaml tqdm pandas PIL".split()
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
