"""The small files of a run, read by whoever shows or compares runs: each has one reader, which checks all of it.

What comes back can be trusted: types, finite numbers within bounds, lengths that belong together. ValueError, in one
line, says why a file cannot be read. Keys of other versions and methods are let through where they hold plain values.
"""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from utils.checks import (
    LARGEST,
    LARGEST_WHOLE,
    LONGEST_TEXT,
    Check,
    anything,
    check,
    flag,
    listed,
    null_or,
    number,
    plain,
    single,
    table,
    text,
    whole,
)
from utils.files import read_json, read_text, read_yaml
from utils.text import for_people

Read = TypeVar("Read")
PRETRAIN, RETRAIN = "pretrain", "retrain"  # the runs that others start from and are compared with
LARGEST_METRICS = 8 * 2**20  # bytes; five thousand groups take three million
LARGEST_HISTORY = 16 * 2**20
LARGEST_STATUS = 2**20
LAST_EPOCH = 10**9

# metrics.json.

SLACK = 0.001  # a sum of shares can miss its end by the last digits
NAME, REASON = text(), text(LONGEST_TEXT)
COUNT = whole()
PERCENT = number(0, 100, SLACK, null=True)
POSITIVE = number(0, LARGEST, null=True)
PERCENTS = (
    *("train_acc", "retain_acc", "forget_acc", "val_acc", "test_acc", "worst_group_acc", "adjusted_acc", "tow"),
    *("forget_group_acc", "forget_group_acc_weighted", "equalized_odds", "equalized_odds_full", "demographic_parity"),
    *("avg_gap", "agreement_forget", "agreement_test", "agreement_forget_groups", "mia", "mia_baseline", "mia_filled"),
    *("mean_group_acc", "ece", "auroc"),
    *("mia_forest_auc", "mia_auc", "mia_auc_sd", "mia_balanced_acc", "mia_balanced_acc_sd"),
    *("mia_group_auc", "mia_group_auc_sd", "mia_group_balanced_acc", "mia_group_balanced_acc_sd"),
    *("mia_tpr_at_1", "mia_tpr_at_1_sd", "mia_tpr_at_01", "mia_tpr_at_01_sd"),
    *("mia_group_tpr_at_1", "mia_group_tpr_at_1_sd", "mia_group_tpr_at_01", "mia_group_tpr_at_01_sd"),
    *("mia_retain_auc", "versions_auc_retain", "versions_auc_held_out", "ks_to_retrain_forget"),
)
POSITIVES = (
    *("kl_to_retrain_forget", "kl_to_retrain_test", "kl_to_retrain_forget_groups"),
    *("seconds", "speedup", "peak_memory_bytes"),
)
CHANGE = number(-100, 100, SLACK, null=True)
SIGNED = {"retain_exposure": CHANGE, "privleak": number(-100, LARGEST, SLACK, null=True)}
SETS = ("train", "retain", "forget", "val", "test")
SHARES = {f"{name}_acc": PERCENT for name in SETS} | {f"n_{name}": COUNT for name in SETS}
INTERVAL = null_or(listed(number(0, 100, SLACK), 2, 2))
BY_GROUP = {
    "test_interval": INTERVAL,
    **dict.fromkeys(("test_ece", "test_auroc", "mia_retain_auc"), PERCENT),
    "retain_exposure": CHANGE,
}
GROUP = table(SHARES | BY_GROUP | {"id": COUNT, "name": NAME}, needed=["name"])
PAIR = null_or(listed(NAME, 2, 2))
ONE_METRICS: dict[str, Check] = {
    **dict.fromkeys(PERCENTS, PERCENT),
    **dict.fromkeys(POSITIVES, POSITIVE),
    **SIGNED,
    **{f"n_{name}": COUNT for name in SETS},
    "schema": whole(1, 1000),
    "equalized_odds_full_skipped": COUNT,
    "equalized_odds_pair": PAIR,
    "demographic_parity_pair": PAIR,
    "intervals": table({}, others=INTERVAL),
    "worst_group": null_or(NAME),
    "worst_group_n": null_or(COUNT),
    "groups": listed(GROUP),
    "forget_group_names": listed(NAME),
    "forget_composition": listed(table(SHARES | {"name": NAME}, needed=["name"])),
    "gaps": null_or(table({}, others=PERCENT)),
    "reference": null_or(NAME),
    "reasons": table({}, others=REASON),
}
ONE_METRICS["in_fp32"] = table({}, others=PERCENT)
METRICS_CHECK = table({**ONE_METRICS, "without_rewind": null_or(table(ONE_METRICS))})  # SCRUB's last epoch

# config.yaml, by the sections that somebody reads.

WORD = text(empty=False)
CONFIG_CHECK = table(
    {
        **dict.fromkeys(("method", "dataset", "model"), WORD),
        **dict.fromkeys(("dataset_name", "tag", "rob_approach", "preset"), null_or(NAME)),
        **dict.fromkeys(("weights", "original", "reference"), null_or(text(LONGEST_TEXT))),
        "seed": whole(0, LARGEST_WHOLE),
        **dict.fromkeys(("forget_seed", "train_seed"), null_or(whole(0, LARGEST_WHOLE))),
        **dict.fromkeys(("image_size", "hidden_dim"), null_or(COUNT)),
        **dict.fromkeys(("unlearning_ratio", "leave_out"), number(0, 1, null=True)),
        **dict.fromkeys(("reweight", "freeze_backbone"), null_or(flag)),
    },
    needed=("method", "dataset", "model", "seed"),
)
GROUPS = table(
    {
        "names": listed(NAME),
        "targets": listed(NAME),
        "n_targets": COUNT,
        "n_sensitive": COUNT,
        "forget": listed(COUNT),
    },
    needed=("names", "n_targets", "n_sensitive"),
)
IMAGES = table({"n": COUNT, "turned": COUNT}, others=NAME)
INPUTS = table(
    {
        "folder": null_or(text(LONGEST_TEXT)),
        "labels": table({}, others=NAME),
        **dict.fromkeys(("table", "backbone"), NAME),
        "images": null_or(IMAGES),
        "reference": table({}, others=NAME),
    }
)
STORED = table(
    {
        "config": CONFIG_CHECK,
        "imported": null_or(table({"file": NAME}, needed=["file"])),
        "sources": null_or(table({"reweight": NAME}, others=anything)),  # nobody reads the others
        "identity": table({}, others=single),
        "inputs": null_or(INPUTS),
        "provenance": null_or(table({"arithmetic": null_or(table({}, others=flag))}, others=single)),
        "task": null_or(NAME),
        "reweights_by_default": null_or(flag),
        "fingerprints": null_or(table({}, others=null_or(NAME))),
        "groups": GROUPS,
    },
    needed=["config"],
)
ROWS_CHECK = table(
    {
        "rows": listed(
            table({"forget": null_or(NAME), "groups": listed(COUNT), "metrics": METRICS_CHECK}, needed=("metrics",))
        )
    },
    needed=("rows",),
)
STATUS_CHECK = table({"state": WORD, "reason": null_or(plain)}, needed=["state"])


def read_metrics(file: Path) -> dict[str, Any]:
    """metrics.json of a run; a metric that could not be computed is None."""
    return _told(lambda: _checked(read_json(file, LARGEST_METRICS), METRICS_CHECK, "the file"))


def read_config(file: Path) -> dict[str, Any]:
    """config.yaml of a run: `config`, which says at least method, dataset, model and seed, and what stands beside."""
    return _told(lambda: _belonging(_checked(read_yaml(file), STORED, "the file")))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """rows.json of a redacted copy: `forget` and `groups`, by which a forget set is known, and `metrics` on it."""
    return _told(lambda: _checked(read_json(file, LARGEST_METRICS), ROWS_CHECK, "the file"))["rows"]


def read_status(file: Path) -> dict[str, str]:
    """status.json of a run: `state` and `reason`, both fit for a line of a message; no reason is an empty text."""
    found = _told(lambda: _checked(read_json(file, LARGEST_STATUS), STATUS_CHECK, "the file"))
    return {name: one_line(str(found.get(name) or "")) for name in ("state", "reason")}


def read_history(file: Path) -> dict[str, list[float | None]]:
    """history.csv of a run by column; a cell that is empty or no finite number is None. Empty where no epoch is."""
    return _told(lambda: _columns(read_text(file, at_most=LARGEST_HISTORY)))


def one_line(text: str) -> str:
    """A text from a file as part of a line."""
    return for_people(" ".join(text.split()))


def _told(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except OSError as error:
        raise ValueError(one_line(error.strerror or str(error))) from None
    except (ValueError, csv.Error) as error:
        raise ValueError(one_line(str(error))) from None


def _checked(value: Any, description: Check, name: str) -> dict[str, Any]:
    check(value, description, name)
    return value


def _belonging(stored: dict[str, Any]) -> dict[str, Any]:
    """The same, where what stands in different places fits together."""
    config, groups = stored["config"], stored.get("groups")
    if config["method"] != PRETRAIN and config.get("unlearning_ratio") is None:
        raise ValueError("config.unlearning_ratio is missing")
    if groups is None:
        return stored
    n = groups["n_targets"] * groups["n_sensitive"]
    if n != len(groups["names"]):
        raise ValueError(f"groups has {len(groups['names'])} names, expected n_targets * n_sensitive, which is {n}")
    if not all(group < n for group in groups.get("forget", [])):
        raise ValueError(f"groups.forget is {groups['forget']}, expected numbers below {n}")
    return stored


def _columns(text: str) -> dict[str, list[float | None]]:
    header, *lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line] or [[]]
    check(header, listed(WORD), "its first line")
    if len(set(header)) != len(header):
        raise ValueError("a column stands twice in its first line")
    for row, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise ValueError(f"row {row} has {len(line)} cells, expected {len(header)}")
    columns = {name: [_cell(line[place], name) for line in lines] for place, name in enumerate(header)}
    for epoch in columns.get("epoch", []):
        if epoch is None or not 0 <= epoch <= LAST_EPOCH:
            raise ValueError(f"column epoch holds {epoch}, expected a number from 0 to {LAST_EPOCH}")
    return columns if lines else {}


def _cell(text: str, column: str) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise ValueError(f"column {column} holds {text!r}, expected a number") from None
    if math.isfinite(value) and abs(value) > LARGEST:
        raise ValueError(f"column {column} holds {value:g}, expected at most {LARGEST:g}")
    return value if math.isfinite(value) else None
