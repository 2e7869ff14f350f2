"""What a run is called in tables and where it stands in them; everything from its files, without torch."""

import re

from method.runs.stored import StoredRun

ORDER = ("pretrain", "retrain", "miu", "salun", "scrub", "l1_sparse", "ssd", "iu")  # of rows, and nothing else
# What papers call the methods; one that is not here goes by its key. Gradient ascent is spelled out: GA is a column.
NAMES = {
    "pretrain": "Original",
    "retrain": "Retrained",
    "miu": "MIU",
    "salun": "SalUn",
    "scrub": "SCRUB",
    "l1_sparse": "ℓ1-sparse",
    "ssd": "SSD",
    "iu": "IU",
    "ft": "Fine-tuning",
    "ga": "Gradient ascent",
    "rl": "Random labels",
    "bad_teacher": "Bad Teacher",
    "boundary_shrink": "Boundary Shrink",
    "boundary_expand": "Boundary Expand",
}
APPROACHES = {"dro": "group DRO", "subsample": "subsampling"}


def label(run: StoredRun) -> str:
    """The method and what departs from its default: "retrain + reweight", "retrain + dro", "miu, no alignment"."""
    return _described(run, run.method, "reweight", run.config.get("rob_approach", ""))


def paper_name(run: StoredRun) -> str:
    """The same in the words of papers: "Retrained + REWEIGHT", "Retrained + group DRO", "MIU, no alignment"."""
    approach = run.config.get("rob_approach", "")
    return _described(run, NAMES.get(run.method, run.method), "REWEIGHT", APPROACHES.get(approach, approach))


def _described(run: StoredRun, name: str, reweight: str, approach: str) -> str:
    config, reweights = run.config, run.config.get("reweight")
    if reweights and not run.reweights_by_default:
        name += f" + {reweight}"
    if reweights is False and run.reweights_by_default and not run.is_robust:
        name += f" (no {reweight})"
    if run.is_robust:
        name += f" + {approach}"
    ablations = [re.fullmatch(r"(?:\w+_)?ablate_(\w+)", key) for key, value in config.items() if value is True]
    preset = config.get("preset", "strict")
    extras = [f"no {found[1]}" for found in ablations if found] + ([] if preset == "strict" else [f"{preset} preset"])
    return ", ".join([name, *extras, *filter(None, [config.get("tag")])])


def rank(run: StoredRun) -> tuple:
    """Rows stand in the order of ORDER, other methods after it by name; a method's default before its variants."""
    place = ORDER.index(run.method) if run.method in ORDER else len(ORDER)
    return place, run.method, bool(run.config.get("reweight")) != run.reweights_by_default, label(run)
