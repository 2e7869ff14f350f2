"""The published membership attack on as many losses as CelebA gives.

    python benchmarks/attack.py [--retain 160000 --val 20000 --forget 20000 --test 20000] [--repetitions 5]

The baseline grows the six forests with scikit-learn, as the protocol says; the result must be equal to the last digit.
"""

import argparse
import time
from typing import Any

import numpy as np
from side_by_side import REPETITIONS, machine, measure_in_turn, table
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from method.evaluation.membership import RANDOM_STATE, published_attack

N_TREES = (20, 50, 100)
CRITERIA = ("gini", "entropy")


def grown_forests(retain: np.ndarray, val: np.ndarray, forget: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Six forests fitted on members and non-members; the one that calls most of F non-member counts."""
    x, y = np.concatenate([retain, val])[:, None], np.r_[np.ones(len(retain)), np.zeros(len(val))]
    best = (-1.0, 0.0)
    for n_trees in N_TREES:
        for criterion in CRITERIA:
            forest = RandomForestClassifier(n_estimators=n_trees, criterion=criterion, random_state=RANDOM_STATE)
            forest.fit(x, y)
            share = 100 * float(np.mean(forest.predict(forget[:, None]) == 0))
            if share > best[0]:
                member = forest.predict_proba(np.concatenate([forget, test])[:, None])[:, 1]
                labels = np.r_[np.ones(len(forget)), np.zeros(len(test))]
                best = (share, 100 * roc_auc_score(labels, member))
    return {"mia": best[0], "mia_forest_auc": best[1], "mia_baseline": 100 * len(val) / (len(retain) + len(val))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in (("retain", 160_000), ("val", 20_000), ("forget", 20_000), ("test", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    wanted = parser.parse_args()
    draw = np.random.default_rng(0)
    scales = {"retain": 0.2, "val": 0.35, "forget": 0.3, "test": 0.35}
    losses = {name: draw.exponential(scale, getattr(wanted, name)) for name, scale in scales.items()}
    results: dict[str, dict[str, Any]] = {}

    def side(name: str, attack) -> Any:
        def work() -> None:
            results[name] = attack(*losses.values())
            if name == "grown forests":
                print(f"  {time.strftime('%H:%M:%S')} six forests grown", flush=True)

        return work

    sides = {"grown forests": side("grown forests", grown_forests), "ours": side("ours", published_attack)}
    found = measure_in_turn(sides, wanted.repetitions)
    print(", ".join(f"{len(values):,} {name}" for name, values in losses.items()))
    print(machine())
    print(table(found))
    for name, result in results.items():
        print(f"{name}: {result}")
    same = {key: bool(results["grown forests"][key] == results["ours"][key]) for key in ("mia", "mia_baseline")}
    apart = abs(results["grown forests"]["mia_forest_auc"] - results["ours"]["mia_forest_auc"])
    print(f"equal to the last digit: {same}; AUC apart by {apart:.1e} (scikit-learn adds the curve's pieces up)")


if __name__ == "__main__":
    main()
