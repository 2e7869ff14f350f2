#!/usr/bin/env bash
# From nothing to a table and a page: the methods on `digits`, forgetting 90 % of one group.
#   bash scripts/quickstart.sh [--all] [main.py arguments, given to every run; paths count from the project's folder]
#   --all   every method there is, not only MIU and the baselines of its paper
# Finished runs are not repeated, so a second call only makes the table and the page.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/_venv.sh"

ensure_venv requirements.txt
SECONDS=0
# One process for all of them, because importing torch takes seconds.
"$python" -c '
import shlex, sys, time
import main
from method.registry import METHODS

start = time.monotonic()
given = [word for word in sys.argv[1:] if word != "--all"]
methods = ["pretrain", "retrain", "retrain --reweight", "miu", "salun", "scrub", "l1_sparse"]
methods += [name for name in METHODS if name not in methods and "--all" in sys.argv]
for method in methods:
    command = f"--method {method} --dataset digits --unlearning_ratio 0.9 --seed 0"
    arguments = [*shlex.split(command), *given]
    print(f"== python main.py {shlex.join(arguments)} ({time.monotonic() - start:.0f} s so far)", flush=True)
    if code := main.main(arguments):
        sys.exit(code)
' "$@"

echo
store="$(store_dir "$@")"
"$python" -m utils.report "$store" --dataset digits --ratio 0.9
"$python" -m utils.report "$store" --out "$store/report.html"
echo "quickstart took $SECONDS s after installation"
echo "the page to look at: $store/report.html"
