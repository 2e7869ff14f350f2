"""What a run is called in tables and where it stands in them; everything from its files, without torch."""

import re

from method.runs.stored import StoredRun

ORDER = ("pretrain", "retrain", "miu", "salun", "scrub", "l1_sparse", "ssd", "iu")  # of rows, and nothing else


def label(run: StoredRun) -> str:
    """The method and what departs from its default: "retrain + reweight", "retrain + dro", "miu, no alignment"."""
    config, name, reweight = run.config, run.method, run.config.get("reweight")
    if reweight and not run.reweights_by_default:
        name += " + reweight"
    if reweight is False and run.reweights_by_default and not run.is_robust:
        name += " (no reweight)"
    if run.is_robust:
        name += f" + {config['rob_approach']}"
    ablations = [re.fullmatch(r"(?:\w+_)?ablate_(\w+)", key) for key, value in config.items() if value is True]
    preset = config.get("preset", "strict")
    extras = [f"no {found[1]}" for found in ablations if found] + ([] if preset == "strict" else [f"{preset} preset"])
    return ", ".join([name, *extras, *filter(None, [config.get("tag")])])


def rank(run: StoredRun) -> tuple:
    """Rows stand in the order of ORDER, other methods after it by name; a method's default before its variants."""
    place = ORDER.index(run.method) if run.method in ORDER else len(ORDER)
    return place, run.method, bool(run.config.get("reweight")) != run.reweights_by_default, label(run)
