"""A committed tree of short real runs, and the reports it gives, to the letter; tests/golden/make.sh makes both."""

import csv
import dataclasses
import hashlib
import itertools
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import ROOT
from trees import Capture, shown

from datasets.splits import Splits, load_splits, save_splits
from method.runs.recompute import recompute
from scripts.report import command as report

GOLDEN = Path("tests/golden")
TREE = GOLDEN / "output"
RUNS = sorted(file.parent for file in (ROOT / TREE).rglob("done"))
# Sums over logits and forests of trees do not depend on the machine; means of exponentials may, in the last digits.
EXACT = 1e-9
RATIOS = (0.1, 0.5, 0.9)
NOT_IN_RECORDS = ("seconds", "peak_memory_bytes", "selected_epoch")


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are named as they were given."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("suffix", ["txt", "md", "csv", "tex"])
def test_the_reports_are_the_committed_ones(tmp_path: Path, capsys: Capture, suffix: str) -> None:
    out = tmp_path / f"report.{suffix}"
    assert shown(TREE, capsys, "--columns", "all", "--out", str(out)) == f"written: {out}\n"
    found, expected = out.read_text(), (GOLDEN / f"report.{suffix}").read_text()
    if suffix == "csv":  # numbers in full
        found, expected = cells(found), cells(expected)
    assert found == expected


def cells(text: str) -> list[list[object]]:
    """Of a CSV file; means of exponentials are compared within EXACT, everything else to the letter."""
    heads, *rows = csv.reader(text.splitlines())
    loose = [head.startswith("kl_") for head in heads]
    return [heads] + [
        [pytest.approx(float(cell), rel=EXACT) if kl and cell else cell for kl, cell in zip(loose, row, strict=True)]
        for row in rows
    ]


def test_the_tree_holds_what_it_should() -> None:
    assert len(RUNS) == 11
    text = (GOLDEN / "report.txt").read_text()
    assert "l1_sparse_0.9_0: failed: the loss of phase retain is not finite" in text
    assert "scrub (rewind)" in text
    assert "scrub (last epoch)" in text


def alike(found: object, expected: object) -> bool:
    """Equal in structure, and to 1e-9 in every number."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and {*found} == {*expected} and all(alike(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    return found == (pytest.approx(expected, abs=EXACT, rel=EXACT) if isinstance(expected, float) else expected)


def reference_folder(run: Path) -> Path | None:
    name = json.loads((run / "metrics.json").read_text()).get("reference")
    return None if name is None else run if name == "itself" else run.parent / name


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_metrics_are_made_again_from_the_records(run: Path) -> None:
    assert alike(recompute(run, reference_folder(run)), json.loads((run / "metrics.json").read_text()))


def test_recompute_mends_what_was_changed_and_what_is_old(tmp_path: Path, capsys: Capture) -> None:
    tree = tmp_path / "output"
    shutil.copytree(TREE, tree)
    before = shown(tree, capsys)
    files = {run: next(tree.rglob(run)) / "metrics.json" for run in ("miu_0.9_0", "retrain_reweight_0.9_0")}
    kept = {run: json.loads(file.read_text()) for run, file in files.items()}
    for run, file in files.items():
        file.write_text(json.dumps({key: kept[run][key] for key in NOT_IN_RECORDS if key in kept[run]}))
    assert "has schema 1" in shown(tree, capsys)
    assert shown(tree, capsys, "--recompute") == before
    for run, file in files.items():
        assert alike(json.loads(file.read_text()), kept[run])


def test_recompute_names_what_it_cannot_read(tmp_path: Path, capsys: Capture) -> None:
    tree = tmp_path / "output"
    shutil.copytree(TREE, tree)
    file = next(tree.rglob("salun_0.9_1")) / "records.npz"
    file.write_bytes(b"damaged")
    assert report.main([str(tree), "--recompute"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"not recomputed: {file.parent}: cannot read the records in {file}")
    assert captured.err.count("\n") == 1
    assert "salun" in captured.out


def forgetting_fewer(splits: Splits, n: int, data: str) -> Splits:
    """Splits of other data, in which the first n rows are not forgotten."""
    if splits.forget_fingerprint is None:
        return dataclasses.replace(splits, data_fingerprint=data)
    forget, retain = splits.forget[n:], np.sort(np.concatenate([splits.retain, splits.forget[:n]]))
    digest = hashlib.sha256(f"{data}:{','.join(map(str, forget.tolist()))}".encode()).hexdigest()
    return dataclasses.replace(splits, forget=forget, retain=retain, data_fingerprint=data, forget_fingerprint=digest)


def many(tree: Path, n_runs: int) -> None:
    """`n_runs` finished runs: the golden ones of seed 0 under further seeds and ratios, fingerprints changed."""
    runs = {run: (run / "config.yaml").read_text() for run in RUNS if run.name.endswith("_0")}
    cases = itertools.product(range(32), RATIOS, runs.items())
    made = 0
    for seed, ratio, (run, text) in cases:
        pretrain = run.name.startswith("pretrain")
        if (pretrain and ratio != 0.1) or made == n_runs:
            continue
        splits = forgetting_fewer(load_splits(run / "splits.npz"), RATIOS.index(ratio), f"{seed}")
        fingerprints = {"data": splits.data_fingerprint, "forget": splits.forget_fingerprint}
        changed = text.replace("seed: 0\n", f"seed: {seed}\n").replace("ratio: 0.9\n", f"ratio: {ratio}\n")
        changed = re.sub(r"fingerprints:\n.*\n.*\n", yaml.safe_dump({"fingerprints": fingerprints}), changed)
        target = tree / f"{run.name}-{ratio}-{seed}"
        shutil.copytree(run, target)
        (target / "config.yaml").write_text(changed)
        save_splits(target / "splits.npz", splits)
        made += 1
    assert made == n_runs


def seconds_of_children() -> float:
    """Of CPU: other tests run beside this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_five_hundred_runs(tmp_path: Path) -> None:
    tree = tmp_path / "output"
    many(tree, 500)
    seconds = {}
    for name in ("table.txt", "page.html"):
        start = seconds_of_children()
        command = [sys.executable, "-m", "scripts.report", str(tree), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=ROOT)
        seconds[name] = seconds_of_children() - start
    assert (tmp_path / "table.txt").read_text().count("split0, ratio 0.") == 3
    assert (tmp_path / "page.html").stat().st_size < 15e6
    assert seconds["table.txt"] < 5
    assert seconds["page.html"] < 20
