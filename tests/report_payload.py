"""Made-up but realistic reports, as the dict that `scripts.report --format json` writes."""

import random
from statistics import fmean, stdev
from typing import Any

from method.evaluation.columns import COLUMNS
from scripts.report.estimates import Score, estimate_change
from scripts.report.payload import LOSS_EDGES, LOSS_SETS
from scripts.report.view import average_accuracy

DIGITS = ["low digit, warm tint", "low digit, cold tint", "high digit, warm tint", "high digit, cold tint"]
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
FACES = [f"{age}, {race}" for age in AGES for race in RACES]
# label, method, REWEIGHT, accuracy on retain, on the other test groups, on the test samples of the forget groups
METHODS = (
    ("pretrain", "pretrain", False, 99.4, 96.5, 92.7),
    ("retrain", "retrain", False, 98.7, 92.0, 48.4),
    ("retrain + reweight", "retrain", True, 99.4, 94.0, 64.0),
    ("miu", "miu", True, 98.4, 93.1, 71.0),
    ("salun", "salun", False, 96.0, 90.4, 55.1),
    ("scrub", "scrub", False, 98.0, 94.6, 88.3),
    ("l1_sparse", "l1_sparse", False, 97.2, 93.3, 80.9),
)
GLOSSARY = {"forget group": "a group that the forget set is taken from", "GA": "test accuracy of the forget groups"}
GROUP = ("name", "forget", "n_train", "n_forget", "n_test")
NATS = {"kl_to_retrain_forget": 0.4, "kl_to_retrain_test": 0.2, "kl_to_retrain_forget_groups": 0.6}
COLUMN_FIELDS = ("key", "title", "what", "unit", "main", "best", "scale", "decimals")


def example(
    ratios: tuple[float, ...] = (0.5, 0.9),
    seeds: tuple[int, ...] = (0, 1, 2),
    groups: list[str] = DIGITS,
    forget: tuple[str, ...] = (DIGITS[2],),
    dataset: str = "digits",
    variants: int = 1,
    epochs: int = 10,
) -> dict[str, Any]:
    """A report of one table a ratio with METHODS as cells; the methods but the first three `variants` times."""
    chance = random.Random(0)
    runs: list[dict[str, Any]] = []
    tables = []
    for number, ratio in enumerate(ratios):
        labels = [(*METHODS[i], v) for i in range(len(METHODS)) for v in range(variants if i > 2 else 1)]
        cells = []
        for place, (label, method, reweight, *levels, variant) in enumerate(labels):
            cell = {"id": f"t{number}c{place}", "label": label if not variant else f"{label}, lr{variant}"}
            own = []
            for seed in seeds:
                setting = {"method": method, "dataset": dataset, "unlearning_ratio": ratio, "seed": seed, "lr": 0.05}
                setting |= {"reweight": reweight, "epochs": epochs, "tag": f"lr{variant}" if variant else "", **REST}
                run = _run(chance, levels, groups, forget, ratio, setting, epochs)
                partner = f"t{number}c{2 if method == 'miu' or reweight else 1}s{seed}"
                name = cell["label"].replace(", ", "-").replace(" + ", "_")
                run |= {
                    "id": f"{cell['id']}s{seed}", "label": cell["label"], "table": f"t{number}", "cell": cell["id"],
                    "folder": f"{dataset}/small_cnn/split0/{name}_{ratio}_{seed}",
                    "original": f"t{number}c0s{seed}", "reference": partner,
                }  # fmt: skip
                own.append(run)
            runs += own
            cell |= {
                "name": cell["label"],
                "place": place,
                "file": f"{method}-{place}",
                "method": method,
                "is_reference": method in ("pretrain", "retrain"),
                "mark": "" if method == "miu" or reweight else "*",
                "story": [{"about": "cost", "text": "It took 11 s."}],
                "seeds": list(seeds),
            }
            cells.append(cell | {"runs": [run["id"] for run in own]})
        tables.append(_table(number, dataset, ratio, forget, cells))
    payload = {
        "schema": 1,
        "path": "output",
        "glossary": GLOSSARY,
        "columns": [{field: getattr(column, field) for field in COLUMN_FIELDS} for column in COLUMNS],
        "tables": tables,
        "runs": runs,
        "missing": [
            {"folder": f"{dataset}/small_cnn/split0/scrub_0.9_3", "problem": "failed: the loss is not finite"},
            {"folder": f"{dataset}/small_cnn/split0/salun_0.9_3", "problem": "running"},
        ],
    }
    return averaged(payload)


REST = {
    "model": "small_cnn", "image_size": 32, "weights": "none", "batch_size": 64, "optimizer": "sgd", "momentum": 0.9,
    "weight_decay": 0.003, "scheduler": "cosine", "warmup_epochs": 0, "max_grad_norm": 0.0, "use_train_aug": True,
    "forget_epochs": 5, "precision": "auto", "compile": False, "split_number": 0, "multi_group": None,
    "preset": "strict", "original": "", "reference": "auto", "device": "auto", "num_workers": None,
    "threads": 1, "data_dir": "data",
}  # fmt: skip


def averaged(payload: dict[str, Any]) -> dict[str, Any]:
    """n, mean and sd of every cell from its runs' metrics; call it again after metrics were changed."""
    by_id = {run["id"]: run for run in payload["runs"]}
    for cell in (cell for table in payload["tables"] for cell in table["cells"]):
        own = [by_id[name] for name in cell["runs"]]
        cell |= {"n": {}, "mean": {}, "sd": {}, "difference": {}}
        for column in payload["columns"]:
            key = column["key"]
            for name, value in _moments([run["metrics"].get(key) for run in own]).items():
                cell[name][key] = value
            theirs = [by_id[run["reference"]]["metrics"].get(key) if run["reference"] else None for run in own]
            pairs = zip([run["metrics"].get(key) for run in own], theirs, strict=True)
            cell["difference"][key] = _moments([None if None in pair else pair[0] - pair[1] for pair in pairs])
    for table in payload["tables"]:
        own = [run for run in payload["runs"] if run["table"] == table["id"]]
        groups = {group["name"]: {name: group[name] for name in GROUP} for run in own for group in run["groups"]}
        table["groups"] = sorted(groups.values(), key=lambda group: not group["forget"])
        for cell in table["cells"]:
            cell["groups"] = _grouped([by_id[name] for name in cell["runs"]], by_id, list(groups.values()))
    return payload


def _grouped(runs: list[dict], by_id: dict[str, dict], groups: list[dict]) -> dict[str, list[dict[str, Any]]]:
    """Accuracies by group with their changes, as the report makes them."""
    names = [group["name"] for group in sorted(groups, key=lambda group: not group["forget"])]
    accuracies = {run: {group["name"]: group for group in one["groups"]} for run, one in by_id.items()}
    found: dict[str, list[dict[str, Any]]] = {"test_acc": [], "minus_original": [], "minus_reference": []}
    for name in names:
        own = [accuracies[run["id"]][name] for run in runs]
        found["test_acc"].append(average_accuracy(own))
        for partner in ("original", "reference"):
            pairs = [(accuracies.get(run[partner], {}).get(name), accuracies[run["id"]][name]) for run in runs]
            scores = [(Score(a["test_acc"], a["n_test"]), Score(b["test_acc"], b["n_test"])) for a, b in pairs if a]
            change = estimate_change(scores)
            moments = _moments([after.accuracy - before.accuracy for before, after in scores])
            found[f"minus_{partner}"].append(moments | {"interval": [change.low, change.high] if change else None})
    return found


def _moments(values: list) -> dict[str, Any]:
    present = [value for value in values if value is not None]
    return {
        "n": len(present),
        "mean": fmean(present) if present else None,
        "sd": stdev(present) if len(present) > 1 else None,
    }


def _table(number: int, dataset: str, ratio: float, forget: tuple[str, ...], cells: list[dict]) -> dict[str, Any]:
    setting = {"dataset": dataset, "model": "small_cnn", "image_size": 32, "weights": "none", "task": "split0"}
    return {
        "id": f"t{number}",
        "title": f"{dataset}, small_cnn, 32 px, weights none, split0, ratio {ratio:g}",
        "file": f"{dataset}-split0-{ratio:g}",
        **setting,
        "ratio": ratio,
        "forget_groups": list(forget),
        "mia_baseline": 18.15,
        "reference": "Reference (same seed): retrain + reweight; of rows with *: retrain.",
        "story": [
            {"about": "request", "text": f"{len(forget)} forget groups were asked for."},
            {"about": "harm", "text": f'SalUn harmed "{forget[0]}" most: too noisy to say.'},
        ],
        "notes": ["MIA bal (g) of scrub (seed 1): fewer than 20 pairs are left"],
        "cells": cells,
        **({} if number else {"audit": _audit(cells)}),  # the first one was audited
    }


def _audit(cells: list[dict]) -> dict[str, Any]:
    """An attack with its placebo, of the first cells and of one group, and what relearning brings back."""
    chance, names = random.Random(1), [(cell["label"], cell["name"]) for cell in cells[: len(METHODS)]]
    column = {"key": "lira_auc", "title": "LiRA AUC", "parts": ["placebo"], "what": "told one by one", "unit": "%"}
    column |= {"decimals": 1, "definition": "by likelihood ratios", "source": "somebody, 2024", "limits": "few runs"}

    def measured(level: float) -> dict[str, Any]:
        value = chance.gauss(level, 2)
        return {"value": value, "low": value - 3, "high": value + 3, "n": 90, "runs": 40}

    rows = [
        {"label": label, "name": name, "group": group, "cells": [{**measured(60), "reason": None, "placebo": 50.5}]}
        for label, name in names
        for group in (None, DIGITS[2])
    ]
    curves = [
        {"label": label, "name": name, "measure": "relearn gap", "group": None, "setting": f"{k} forgotten samples"}
        | {"at": {"forgotten_samples": k, "step": step}, **measured(step / 10)}
        for k in (0, 10)
        for label, name in names[3:]
        for step in (0, 50, 200)
    ]
    floor = {"label": "retrain", "name": "noise floor: two models of Retrained", "values": {"avg_gap": measured(2)}}
    told = {"title": "Audit: is it really forgotten?", "told": ["A value with its interval."], "notes": []}
    told["verdict"] = [{"about": "Controls", "text": "LiRA passes."}]
    lines = [{"row": place, "runs": "40"} for place in range(len(rows))]
    table = {"title": "Told?", "columns": [0], "heads": ["AUC"], "lines": lines}
    table["shared"] = {"definition": [], "source": ["somebody, 2024."], "limits": []}
    return {**told, "columns": [column], "rows": rows, "tables": [table], "curves": curves, "floors": [floor]}


def _run(
    chance: random.Random,
    levels: list[float],
    names: list[str],
    forget: tuple[str, ...],
    ratio: float,
    config: dict[str, Any],
    epochs: int,
) -> dict[str, Any]:
    retain, other, own = levels
    groups = [_group(chance, name, name in forget, own if name in forget else other, ratio) for name in names]
    accuracies = [group["test_acc"] for group in groups if group["test_acc"] is not None]
    near = {"retain_acc": retain, "val_acc": other, "mia": 100 - own, "equalized_odds": (other - own) / 2}
    near |= {"forget_acc": own + 5, "tow": 100 - abs(own - 64) / 2, "avg_gap": abs(own - 64) / 3}
    metrics: dict[str, float | None] = {}
    for column in COLUMNS:
        level = near.get(column.key, 50 + chance.random() * 8) if column.unit == "%" else 2.0
        metrics[column.key] = min(100.0, max(0.0, chance.gauss(level, 0.8)))
    metrics |= {key: abs(chance.gauss(level, 0.05)) for key, level in NATS.items()}
    forgotten = [group["test_acc"] for group in groups if group["forget"]]
    metrics |= {"test_acc": fmean(accuracies), "worst_group_acc": min(accuracies), "forget_group_acc": fmean(forgotten)}
    metrics |= {"mia_auc_sd": 1.2, "mia_group_auc_sd": 2.3, "mia_baseline": 18.15}
    metrics |= {"seconds": 11.0204, "peak_memory_bytes": 3.1e8 * chance.random() if config["method"] == "miu" else None}
    reasons = {"peak_memory_bytes": "measured on a GPU only"}
    return {
        "seed": config["seed"], "metrics": metrics, "reasons": reasons, "groups": groups, "config": config,
        "losses": _losses(chance, own, ratio), "history": _history(chance, config["method"], epochs),
    }  # fmt: skip


def _group(chance: random.Random, name: str, forget: bool, level: float, ratio: float) -> dict[str, Any]:
    n_train, n_test = sum(map(ord, name)) % 900 + 120, sum(map(ord, name)) % 290 + 12
    correct = round(n_test * min(1.0, max(0.0, chance.gauss(level, 3) / 100)))
    share = correct / n_test
    width = 1.96 * ((share * (1 - share) + 0.96 / n_test) / n_test) ** 0.5
    n_forget = round(n_train * ratio) if forget else 0
    return {
        "name": name, "forget": forget, "n_train": n_train, "n_forget": n_forget, "n_retain": n_train - n_forget,
        "n_test": n_test, "test_acc": 100 * share,
        "test_interval": [round(100 * max(0.0, share - width), 2), round(100 * min(1.0, share + width), 2)],
    }  # fmt: skip


def _losses(chance: random.Random, own: float, ratio: float) -> dict[str, list]:
    n = dict(zip(LOSS_SETS, (round(218 * ratio), 1804, 400, 1194), strict=True))
    middle = dict(zip(LOSS_SETS, (-own / 30, -3.2, -2.3, -2.2), strict=True))
    found: dict[str, list] = {"edges": [round(edge, 4) for edge in LOSS_EDGES.tolist()]}
    for name in LOSS_SETS:
        counts = [0] * (len(LOSS_EDGES) - 1)
        for _ in range(n[name]):
            counts[min(39, max(0, int((chance.gauss(middle[name], 1.4) + 8) * 4)))] += 1
        found[name] = counts
    return found


def _history(chance: random.Random, method: str, epochs: int) -> dict[str, list]:
    def falling(start: float, end: float) -> list[float]:
        return [end + (start - end) * 0.6**epoch + chance.gauss(0, 0.02) for epoch in range(epochs)]

    found: dict[str, list] = {"epoch": list(range(epochs)), "retain_loss": falling(0.6, 0.07)}
    if method in ("pretrain", "retrain"):
        found |= {"val_acc": [100 - value * 60 for value in falling(0.8, 0.1)]}
    if method in ("miu", "scrub", "salun"):
        half = epochs // 2
        found |= {"forget_loss": [*falling(0.3, -0.2)[:half], *[None] * (epochs - half)]}
    if method == "miu":
        found |= {"critics_loss": falling(-0.6, -1.4)}
        found |= {"mi_model": falling(0.3, 0.7), "mi_original": falling(0.32, 0.72)}
        found |= {"forget_mi_model": [*falling(0.3, 0.0)[:half], *[None] * (epochs - half)]}
        found |= {"retain_mi_model": falling(0.5, 0.66), "retain_mi_original": falling(0.58, 0.65)}
    return found | {"lr": [0.05 * (1 - epoch / epochs) for epoch in range(epochs)], "seconds": [0.5] * epochs}
