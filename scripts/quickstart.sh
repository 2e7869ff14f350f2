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
from utils.terminal import say, set_up

set_up()
start = time.monotonic()
given = [word for word in sys.argv[1:] if word != "--all"]
named = {word.split("=")[0] for word in given}
own = {"--dataset": "digits", "--unlearning_ratio": "0.9", "--seed": "0"}
own = [word for flag, value in own.items() if flag not in named for word in (flag, value)]
methods = ["pretrain", "retrain", "retrain --reweight", "miu", "salun", "scrub", "l1_sparse"]
methods += [name for name in METHODS if name not in methods and "--all" in sys.argv]
for method in methods:
    arguments = ["--method", *method.split(), *own, *given]
    say(f"== python main.py {shlex.join(arguments)} ({time.monotonic() - start:.0f} s so far)", sys.stdout)
    if code := main.main(arguments):
        sys.exit(code)
' "$@"

echo
store="$(store_dir "$@")"
"$python" -m scripts.report "$store" --dataset digits --ratio 0.9
"$python" -m scripts.report "$store" --out "$store/report.html"
echo "quickstart took $SECONDS s after installation"
echo "the page to look at: $store/report.html"
