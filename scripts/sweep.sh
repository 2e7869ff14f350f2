#!/usr/bin/env bash
# A whole table: methods x ratios x seeds on one data set, one run after another; stops at the first that fails.
#   DATASET=fairface RATIOS="0.5 0.9" SEEDS="0 1" bash scripts/sweep.sh [main.py arguments, given to every run]
# With --forget_list FILE, which has no ratio, give RATIOS=1.
# Finished runs are not repeated, so the same command continues a sweep that was stopped.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

DATASET="${DATASET:-digits}"
RATIOS="${RATIOS:-0.1 0.5 0.9}"
SEEDS="${SEEDS:-0 1 2}"
METHODS="${METHODS:-miu salun scrub l1_sparse}"

run() {
  echo "== $*"
  "$python" main.py --dataset "$DATASET" "$@"
}

ensure_venv requirements.txt
for seed in $SEEDS; do
  run --method pretrain --seed "$seed" "$@"
  for ratio in $RATIOS; do
    run --method retrain --unlearning_ratio "$ratio" --seed "$seed" "$@"
    run --method retrain --reweight --unlearning_ratio "$ratio" --seed "$seed" "$@"
    for method in $METHODS; do
      run --method "$method" --unlearning_ratio "$ratio" --seed "$seed" "$@"
    done
  done
done

for ratio in $RATIOS; do
  echo
  "$python" -m scripts.report "$(store_dir "$@")" --dataset "$DATASET" --ratio "$ratio"
done
