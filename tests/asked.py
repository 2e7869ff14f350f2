"""Hand-made runs that answer a deletion request, with everything that a run's folder can hold about persons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from trees import NAMES, make_run, metrics

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records

TASK = "list-0badcafe"
N_TRAIN, N = 400, 1000
ROWS = 7_000_003 + 11 * np.arange(N)  # large enough to stand nowhere else
FORGOTTEN = ROWS[:N_TRAIN:20]
ASKED = [f"train/portrait_{number}.jpg" for number in range(17)] + ["row:7000223", "id:4711", "=HYPERLINK(1)"]
UNKNOWN, NOT_IN_TRAIN = ["train/nobody-knows.jpg", "@SUM(1)"], ["val/somebody.jpg"]
LIST = [*ASKED, *UNKNOWN, *NOT_IN_TRAIN]
OWNER = "/home/erika.mustermann/secret-project"
WEIGHTS = {"before": "a" * 64, "after": "b" * 64}


def data(wrong: float, seed: int) -> tuple[Records, Splits]:
    """Records in which a share is wrong, and splits with FORGOTTEN as the forget set."""
    generator, number = np.random.default_rng(seed), np.arange(N)
    target, sensitive = number % 2, number // 2 % 2
    split = np.repeat([0, 1, 2], [N_TRAIN, 200, 400])
    right = generator.random(N) >= wrong
    logits = 3 * np.eye(2)[np.where(right, target, 1 - target)] + generator.normal(scale=0.4, size=(N, 2))
    records = Records.from_logits(ROWS, split, target, sensitive, 2 * target + sensitive, logits)
    parts = [ROWS[split == code] for code in range(3)]
    groups = tuple(np.unique((2 * target + sensitive)[np.isin(ROWS, FORGOTTEN)]).tolist())
    fingerprint = forget_fingerprint("data0", FORGOTTEN)
    return records, Splits(
        *parts, FORGOTTEN, np.setdiff1d(parts[0], FORGOTTEN), groups, data_fingerprint="data0",
        forget_fingerprint=fingerprint,
    )  # fmt: skip


def finish(path: Path, wrong: float, seed: int, changed: dict[str, Any], **more: Any) -> None:
    """Give a run of `make_run` records, splits, metrics, a log, weights, and what trackers leave."""
    records, splits = data(wrong, seed)
    stored = yaml.safe_load((path / "config.yaml").read_text())
    forgets = stored["config"]["method"] != "pretrain"
    if not forgets:
        nothing = np.array([], dtype=np.int64)
        splits = Splits(splits.train, splits.val, splits.test, nothing, splits.train, (), "data0", None)
    records.save(path / "records.npz")
    save_splits(path / "splits.npz", splits)
    found = evaluate(records, splits, NAMES, 2, 2) | {"seconds": 12.5, **changed}
    found["reasons"] |= {"peak_memory_bytes": f"it cannot be read from {OWNER}/gpu"}
    (path / "metrics.json").write_text(json.dumps(found))
    stored["fingerprints"] = {"data": "data0", "forget": splits.forget_fingerprint}
    stored["groups"]["forget"] = list(splits.forget_groups)
    stored["inputs"] = {"folder": f"{OWNER}/data", "labels": {"mustermann.csv": "c" * 64}}
    stored["config"] |= {"data_dir": f"{OWNER}/data", "store_dir": f"{OWNER}/output", "wandb_project": "mustermann"}
    stored["sources"] = {"method": "--method", "data_dir": f"{OWNER}/config.yaml", "epochs": "digits.yaml [miu]"}
    stored |= more
    (path / "config.yaml").write_text(yaml.safe_dump(stored))
    (path / "run.log").write_text(
        f"2026-03-04 05:06:07,890 INFO starting {OWNER}\n2026-03-04 05:07:08,000 INFO first {ASKED[0]}\n"
    )
    (path / "history.csv").write_text("epoch,retain_loss\n0,0.5\n")
    (path / "status.json").write_text('{"state": "done", "reason": null}')
    (path / "model.pt").write_bytes(f"weights with {ASKED[0]}".encode())
    (path / "wandb").mkdir()
    (path / "wandb" / "run_id").write_text("mustermann")
    (path / "notes.txt").write_text(ASKED[1])


def make_answer(root: Path, name: str = "miu_1_0", names: list[str] = LIST, groups: list[str] = NAMES) -> Path:
    """A pretrained, a retrained and an unlearned run; the folder of the latter."""
    folder = f"digits/small_cnn/{TASK}"
    config = {"unlearning_ratio": 1.0, "forget_list": f"{OWNER}/request.txt", "skip_unknown": True}
    requests = {"n": len(names), "n_skipped": 3, "skipped": {"unknown": UNKNOWN, "not_in_train": NOT_IN_TRAIN}}
    started = {"provenance": {"original_sha256": WEIGHTS["before"], "commit": "f00d", "torch": "2.9"}}
    pretrain = make_run(root, "digits/small_cnn/pretrain_0", "pretrain", metrics(90.0))
    finish(pretrain, 0.1, 1, {}, provenance={"model_sha256": WEIGHTS["before"]})
    (pretrain / "model.pt").unlink()
    retrain = make_run(
        root, f"{folder}/retrain_reweight_1_0", "retrain", metrics(80.0), task=TASK, **config, reweight=True
    )
    finish(retrain, 0.2, 2, {}, requests=requests)
    path = make_run(root, f"{folder}/{name}", "miu", metrics(70.0), task=TASK, **config)
    finish(path, 0.3, 3, {"reference": "retrain_reweight_1_0"}, requests=requests, **started)
    for run in (retrain, path):
        (run / "forget_list.txt").write_text("".join(f"{name}\n" for name in names))
    for file in (run / name for run in (pretrain, retrain, path) for name in ("config.yaml", "metrics.json")):
        text = file.read_text()
        for old, new in zip(NAMES, map(json.dumps, groups), strict=True):
            text = text.replace(json.dumps(old), new).replace(f"- {old}\n", f"- {new}\n")
        file.write_text(text)
    return path
