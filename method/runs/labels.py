"""What a run is called in tables and where it stands in them; everything from its configuration, without torch."""

import re
from typing import Any

ORDER = ("pretrain", "retrain", "miu", "salun", "scrub", "l1_sparse", "ssd", "iu")
# Written down here too, because asking the methods themselves takes importing torch; a test compares the two.
REWEIGHTED = ("miu",)


def reweights_by_default(method: str) -> bool:
    """Whether REWEIGHT belongs to the method, so that its absence is what a label names."""
    return method in REWEIGHTED


def label(config: dict[str, Any]) -> str:
    """The method and what departs from its default: "retrain + reweight", "retrain + dro", "miu, no alignment"."""
    name, default, reweight = config["method"], reweights_by_default(config["method"]), config.get("reweight")
    if reweight and not default:
        name += " + reweight"
    if reweight is False and default:
        name += " (no reweight)"
    if config.get("rob_approach", "none") != "none":
        name += f" + {config['rob_approach']}"
    ablations = [re.fullmatch(r"(?:\w+_)?ablate_(\w+)", key) for key, value in config.items() if value is True]
    preset = config.get("preset", "strict")
    extras = [f"no {found[1]}" for found in ablations if found] + ([] if preset == "strict" else [f"{preset} preset"])
    return ", ".join([name, *extras, *filter(None, [config.get("tag")])])


def rank(config: dict[str, Any]) -> tuple:
    """Rows stand in the order of ORDER, other methods after it by name; a method's default before its variants."""
    method = config["method"]
    place = ORDER.index(method) if method in ORDER else len(ORDER)
    return place, method, bool(config.get("reweight")) != reweights_by_default(method), label(config)
