#!/usr/bin/env bash
# From nothing to a table and a page: the methods on `digits`, forgetting 90 % of one group.
#   bash scripts/quickstart.sh [--all] [main.py arguments, given to every run; paths count from the project's folder]
# Flags that are for one run alone, such as --overwrite and --tag, are refused.
#   --all   every method there is, not only MIU and the baselines of its paper
# Ctrl-C stops it; a second call goes on. Finished runs are not repeated, so in the end it only makes the table and the page.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

ensure_venv requirements.txt
SECONDS=0
"$python" -m scripts.quickstart "$@"
echo "quickstart took $SECONDS s after installation"
