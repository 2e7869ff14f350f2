#!/usr/bin/env bash
# From nothing to a table and a page: every method on `digits`, forgetting 90 % of one group.
#   bash scripts/quickstart.sh [main.py arguments, given to every run; paths count from the project's folder]
# Finished runs are not repeated, so a second call only makes the table and the page.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

ensure_venv requirements.txt
SECONDS=0
for method in "pretrain" "retrain" "retrain --reweight" "miu" "salun" "scrub" "l1_sparse"; do
  echo "== $method ($SECONDS s so far)"
  # shellcheck disable=SC2086  # "retrain --reweight" is two words
  "$python" main.py --method $method --dataset digits --unlearning_ratio 0.9 --seed 0 "$@"
done

echo
store="$(store_dir "$@")"
"$python" -m utils.report "$store" --dataset digits --ratio 0.9
"$python" -m utils.report "$store" --out "$store/report.html"
echo "quickstart took $SECONDS s after installation"
echo "the page to look at: $store/report.html"
