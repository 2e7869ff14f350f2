"""What a redacted copy keeps of metrics.json: numbers, names of groups, and sentences that the program says."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from method.evaluation.evaluator import ITSELF, NO_OUTPUTS
from method.evaluation.exposure import NO_ORIGINAL, OTHER_ORIGINAL
from method.evaluation.metrics import GAP_PARTS
from method.registry import METHODS
from method.runs.meanings import COMPOSITION, GROUP, explain_metrics
from method.runs.recompute import GONE
from method.runs.stored import StoredRun
from scripts.report.naming import LEFT_OUT
from scripts.report.tokens import Tokens

REFERENCE, REASONS = "reference", "reasons"
OF_GROUPS = ("name", "worst_group", "forget_group_names")  # keys whose texts are names of groups
# Sentences of the program; a name in them is that of a group or of a folder.
UNTOLD = "a reason that may name files: left out"
SETS = "(train|retain|forget|val|test)"
OF_GROUP = re.compile("there is no test sample of (.+)", re.DOTALL)
OUTPUTS_GONE = re.compile("the records of (.+) cannot be read, or are of other samples", re.DOTALL)
SAYABLE = re.compile(
    "|".join(
        (
            f"there is no ({SETS} )?sample(, and the attack needs members, non-members and a forget set)?",
            "there is no (test sample (of the forget groups|in the cell u = [01], s = [01])|value)",
            r"the attack needs \d+ pairs of a member and a non-member of the same group, and"
            r" (val and test have|the retain set has) samples for \d+",
            r"a false-positive rate of one in \d+ needs \d+ non-members, and there are \d+",
            "mia_group_auc is (null in this run or in its reference|100 in the reference)",
            r"the forget set has \d+ samples( of target \d+, and val and test have \d+|, and the attack needs \d+)",
            "no target has test samples of two sensitive values",
            "the test samples have fewer than two (targets|sensitive values)",
            "no group has the class whose share differs most as its target",
            "the training time of this run or of its reference is not known",
            rf"({'|'.join(GAP_PARTS)})(, ({'|'.join(GAP_PARTS)}))* is null in this run or in its reference",
            r"no finished retrain( --reweight)? run of this task and seed to compare with",
            r"no retrain run \(without REWEIGHT\) of this task, ratio and seed is finished",
            "the reference has another number of classes",
            "the model was imported",
            *map(re.escape, (NO_OUTPUTS, GONE, NO_ORIGINAL, OTHER_ORIGINAL)),
        )
    )
)


@dataclass(frozen=True)
class Kept:
    """What metrics of a run may keep beside numbers: names of its groups, and what folders are called in the copy."""

    groups: frozenset[str]
    called: Mapping[str, str]
    tokens: Tokens

    def text(self, key: str, text: str) -> str:
        """What stands in place of a text."""
        if key == REFERENCE:
            return self.folder(text)
        return text if key in OF_GROUPS and text in self.groups else LEFT_OUT

    def folder(self, name: str) -> str:
        """A folder's name in the copy: a token where it is not there."""
        return name if name == ITSELF else self.called.get(name) or self.tokens.of("folder", name)

    def reason(self, text: str) -> str:
        """A sentence where the program itself says such, as others may name files."""
        if found := OUTPUTS_GONE.fullmatch(text):
            return f"{text[: found.start(1)]}{self.folder(found[1])}{text[found.end(1) :]}"
        of_group = OF_GROUP.fullmatch(text)
        return text if SAYABLE.fullmatch(text) or (of_group and of_group[1] in self.groups) else UNTOLD


def kept_of(run: StoredRun, called: Mapping[str, str], tokens: Tokens) -> Kept:
    """Of the run whose groups are meant; called: names of folders in the copy, by name."""
    return Kept(frozenset((run.stored.get("groups") or {}).get("names", ())), called, tokens)


def redact_metrics(metrics: Any, kept: Kept, key: str = "") -> Any:
    """metrics.json: the numbers of keys that this version explains, and the texts that are kept."""
    if isinstance(metrics, dict):
        told = {name: value for name, value in metrics.items() if name in _metric_keys()}
        if key == REASONS:
            return {name: kept.reason(str(value)) for name, value in told.items()}
        return {name: redact_metrics(value, kept, name) for name, value in told.items()}
    if isinstance(metrics, list):
        return [redact_metrics(value, kept, key) for value in metrics]
    return kept.text(key, metrics) if isinstance(metrics, str) else metrics


@functools.cache
def _metric_keys() -> frozenset[str]:
    own = (key for method in METHODS.values() for key in method.metric_keys)
    return frozenset((*explain_metrics(), *GROUP, *COMPOSITION, *own))
