#!/usr/bin/env bash
# Make the committed output tree and its reports anew, from the project's folder; then read the difference.
# Short runs on five times the hand-made Waterbirds of the tests: two seeds, one of SCRUB, and one run that fails.
set -euo pipefail
python="${PYTHON:-.venv/bin/python}"
here=tests/golden
data="$(mktemp -d)"
trap 'rm -rf "$data"' EXIT
PYTHONPATH=tests:. "$python" -c "import sys, pathlib, folders; folders.make_waterbird(pathlib.Path(sys.argv[1]), 5)" "$data"

run() {
  "$python" main.py --method "$@" --dataset waterbird --unlearning_ratio 0.9 --data_dir "$data" \
    --store_dir "$here/output" --checkpoint_dir "$here/none" --model small_cnn --image_size 32 --no-pretrained \
    --batch_size 32 --threads 1 --num_workers 0 --device cpu
}

rm -rf "$here/output"
for seed in 0 1; do
  run pretrain --seed "$seed" --epochs 8 --lr 0.05
  run retrain --seed "$seed" --epochs 8 --lr 0.05
  run retrain --reweight --seed "$seed" --epochs 8 --lr 0.05
  run miu --seed "$seed" --epochs 3 --lr 0.01
  run salun --seed "$seed" --epochs 3 --lr 0.01
done
run scrub --scrub_rewind --seed 0 --epochs 3 --lr 0.005
run l1_sparse --seed 0 --epochs 2 --lr 1e30 || true

find "$here/output" \( -name model.pt -o -name last.pt -o -name run.log \) -delete
# Where the images were is no part of it.
find "$here/output" -name config.yaml -exec sed -i.bak "s#$data#data#" {} + -o -name '*.bak' -delete
find "$here/output" -name '*.bak' -delete
for suffix in txt md csv tex; do
  "$python" -m scripts.report "$here/output" --columns all --out "$here/report.$suffix"
done
