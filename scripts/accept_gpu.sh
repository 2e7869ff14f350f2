#!/usr/bin/env bash
# Whether this program works on this machine, correct and fast, in one table; any user's first command on a new GPU.
#   bash scripts/accept_gpu.sh [--device cuda] [--quick | --full] [--data_dir FOLDER] [--only PART ...] [--out FOLDER]
# It needs what requirements.txt names; the part `tests` also pytest and pytest-xdist, and is skipped without them.
# The Python is $PYTHON, that of the active environment, or python3, whichever has these packages; nothing is installed
# then. Only where none has them, .venv is made, for which the network is needed.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_python.sh"

echo "Python: $(command -v "$chosen")"
exec "$chosen" -m scripts.acceptance "$@"
