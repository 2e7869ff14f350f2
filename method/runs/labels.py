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
    "neggrad_plus": "NegGrad+",
    "falw": "FaLW by group",
}
APPROACHES = {"dro": "group DRO", "subsample": "subsampling"}


def label(run: StoredRun) -> str:
    """The method and what departs from its default: "retrain + reweight", "retrain + dro", "miu, no alignment"."""
    name = _trained(run, run.method, "reweight", run.config.get("rob_approach", ""))
    name += " (no reweight)" if _lacks_reweight(run) else ""
    return ", ".join([name, *_variants(run), *filter(None, [run.config.get("tag")])])


def paper_name(run: StoredRun) -> str:
    """The same in the words of papers: "Retrained + REWEIGHT", "MIU (no alignment)", "MIU (no REWEIGHT, lambda10)".

    A tag that says what a flag says is left out.
    """
    approach, variants, tag = run.config.get("rob_approach", ""), _variants(run), run.config.get("tag") or ""
    name = _trained(run, NAMES.get(run.method, run.method), "REWEIGHT", APPROACHES.get(approach, approach))
    said = [_plain(text) for text in (*variants, *(one.removesuffix(" preset") for one in variants))]
    is_said = any(re.fullmatch(rf"{re.escape(one)}[a-z]*", _plain(tag)) for one in said)
    further = ["no REWEIGHT"] * _lacks_reweight(run) + variants + [tag] * bool(tag and not is_said)
    return f"{name} ({', '.join(further)})" if further else name


def _trained(run: StoredRun, name: str, reweight: str, approach: str) -> str:
    name += f" + {reweight}" if run.config.get("reweight") and not run.reweights_by_default else ""
    return name + (f" + {approach}" if run.is_robust else "")


def _lacks_reweight(run: StoredRun) -> bool:
    return run.config.get("reweight") is False and run.reweights_by_default and not run.is_robust


def _variants(run: StoredRun) -> list[str]:
    """What flags leave out of a method, and its preset."""
    found = [re.fullmatch(r"(?:\w+_)?ablate_(\w+)", key) for key, value in run.config.items() if value is True]
    preset = run.config.get("preset", "strict")
    return [f"no {one[1]}" for one in found if one] + ([] if preset == "strict" else [f"{preset} preset"])


def _plain(text: str) -> str:
    """Its letters and digits alone: "no-retain" is "no retain"."""
    return re.sub(r"[\W_]+", " ", text).strip().casefold()


def rank(run: StoredRun) -> tuple:
    """Rows stand in the order of ORDER, other methods after it by name; a method's default before its variants.

    Unlearned models with a tag come after all without one.
    """
    place = ORDER.index(run.method) if run.method in ORDER else len(ORDER)
    is_variant = bool(run.config.get("tag")) and run.method not in ORDER[:2]
    not_default = bool(run.config.get("reweight")) != run.reweights_by_default
    return is_variant, place, run.method, not_default, label(run)
