#!/usr/bin/env bash
# Lint, types and tests.   bash scripts/test.sh [--all] [pytest arguments]
#   --all   the slow tests too
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

options=(-m "not slow")
arguments=()
for argument in "$@"; do
  if [ "$argument" = --all ]; then options=(); else arguments+=("$argument"); fi
done

ensure_venv requirements.txt requirements-test.txt
SECONDS=0
"$python" -m ruff check .
"$python" -m mypy

# One test process a core, each with one thread: more of either and they wait for each other.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
status=0
"$python" -m pytest -q -rs -n auto --maxprocesses 8 --dist worksteal \
  ${options[@]+"${options[@]}"} ${arguments[@]+"${arguments[@]}"} || status=$?
echo "lint, types and tests took $SECONDS s"
exit "$status"
