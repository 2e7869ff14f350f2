"""What many runs tell together: which runs are compared, what is found on made-up models, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.evaluator import evaluate
from method.evaluation.forgetting_quality import forgetting_points
from method.evaluation.records import Records
from method.runs.findings import Finding
from method.runs.folder import RECORDS, SPLITS
from method.runs.stored import StoredRun
from scripts.audit.floors import NO_VALUE, NO_WAY, TOO_FEW, choose_models, examine_floors, jackknife_ends
from scripts.audit.interpolated import NO_MODELS, NO_OWN_RECORDS, NO_RECORDS
from scripts.audit.models import subjects
from scripts.audit.quality import examine
from utils.errors import UserError

NAMES = ("cat, day", "cat, night", "dog, day", "dog, night")
N = 400
ROWS = np.arange(N)
GROUP = ROWS % 4  # two targets by two sensitive values
SPLIT = np.repeat([0, 1, 2], (240, 60, 100))
TRAIN, VAL, TEST = (ROWS[code == SPLIT] for code in (0, 1, 2))
DATA = "data"


def make_splits(forget: np.ndarray | None) -> Splits:
    """Those that forget these rows of train; None: pretrain."""
    rows = TRAIN[:0] if forget is None else forget
    fingerprint = None if forget is None else forget_fingerprint(DATA, forget)
    groups = tuple(np.unique(GROUP[rows]).tolist())
    return Splits(TRAIN, VAL, TEST, rows, np.setdiff1d(TRAIN, rows), groups, DATA, fingerprint)


FORGET = TRAIN[GROUP[TRAIN] >= 2][:60]


class Store:
    """Made-up runs in a folder: models whose phi of a sample is a draw around what it should be."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, list[StoredRun]()

    def add(
        self,
        method: str,
        seed: int,
        train_seed: int = 0,
        forget: np.ndarray | None = FORGET,
        lift: float = 0.0,
        group: np.ndarray = GROUP,
        **config: object,
    ) -> StoredRun:
        """A run whose phi of forgotten samples is `lift` above that of a model that never saw them."""
        folder = self.folder / str(len(self.runs))
        folder.mkdir()
        splits = make_splits(None if method == "pretrain" else forget)
        draw = np.random.default_rng([len(self.runs), seed])
        phi = np.random.default_rng(0).normal(1, 1, N) + draw.normal(0, 1, N)
        phi[np.setdiff1d(TRAIN, FORGET)] += 3
        phi[FORGET] += lift
        target = group // 2
        logits = np.zeros((N, 2), dtype=np.float32)
        logits[ROWS, target] = phi
        records = Records.from_logits(ROWS, SPLIT, target, group % 2, group, logits)
        records.save(folder / RECORDS)
        save_splits(folder / SPLITS, splits)
        values = {
            "dataset": "made",
            "model": "small",
            "image_size": 8,
            "weights": "none",
            "method": method,
            "seed": seed,
            "train_seed": train_seed,
            "unlearning_ratio": 0.5,
            **config,
        }
        stored = {
            "config": values,
            "task": "split0",
            "reweights_by_default": False,
            "fingerprints": {"data": DATA, "forget": splits.forget_fingerprint},
            "groups": {"names": NAMES, "n_targets": 2, "n_sensitive": 2, "forget": list(splits.forget_groups)},
        }
        metrics = evaluate(records, splits, NAMES, 2, 2, repeated_attacks=False) if method == "retrain" else {}
        self.runs.append(StoredRun(folder, values, stored, metrics, marked=True))
        return self.runs[-1]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Ten and eight runs of one original, sixteen retrained models, and as many originals."""
    made = Store(tmp_path_factory.mktemp("runs"))
    for seed in range(16):
        made.add("pretrain", seed, seed, lift=4)
        made.add("retrain", seed, seed)
    for seed in range(10):
        made.add("ft", seed, lift=2)
    for seed in range(8):
        made.add("ga", seed)
    return made


@pytest.fixture(scope="module")
def found(store: Store) -> list[Finding]:
    return list(examine(store.runs))


def pick(found: Sequence[Finding], measure: str, label: str, group: str | None = None, at=None) -> Finding:
    """The one finding that is meant."""
    (one,) = [f for f in found if (f.measure, f.label, f.group, f.at) == (measure, label, group, at)]
    return one


def accuracy(run: StoredRun, rows: np.ndarray) -> float:
    """Share of these rows that a run is right on."""
    return float(np.mean(Records.load(run.folder / RECORDS).correct[rows]))


def test_what_is_still_known_is_told_from_retrained_models(found):
    original, kept, forgotten, retrained = (
        pick(found, "forgetting_quality", label) for label in ("pretrain", "ft", "ga", "retrain")
    )
    assert original.value < kept.value / 2 < kept.value < forgotten.value
    assert kept.value < kept.floor * 0.7
    assert forgotten.value == pytest.approx(forgotten.floor, rel=0.25)  # as retrained ones among themselves
    assert retrained.value == retrained.floor == kept.floor == original.floor
    assert (original.n, original.runs) == (60, 8)
    divergence = {label: pick(found, "klom_forget", label) for label in ("pretrain", "ft", "ga")}
    assert divergence["pretrain"].value > divergence["ft"].value > divergence["ga"].value
    assert divergence["ga"].value == pytest.approx(divergence["ga"].floor, rel=0.25)
    for name in ("retain", "test"):  # made alike for all
        assert (one := pick(found, f"klom_{name}", "ft")).value == pytest.approx(one.floor, rel=0.25)


def test_the_score_keeps_the_accuracy_in_mind(store, found):
    quality, score = pick(found, "forgetting_quality", "ft"), pick(found, "forgetting_score", "ft")
    parts = (np.setdiff1d(TRAIN, FORGET), TEST)
    retained, test = (
        np.mean([accuracy(run, part) for run in store.runs if run.method == "ft"])
        / np.mean([accuracy(run, part) for run in store.runs if run.method == "retrain"])
        for part in parts
    )
    assert score.value == pytest.approx(quality.value * retained * test)
    assert score.floor == quality.floor


def test_all_models_of_either_kind_at_once(store, found):
    phi = {
        method: np.stack([Records.load(run.folder / RECORDS).log_odds for run in store.runs if run.method == method])
        for method in ("ft", "retrain")
    }
    one = pick(found, "forgetting_quality", "ft", at={"models": 10})
    assert one.value == pytest.approx(forgetting_points(phi["ft"][:, FORGET], phi["retrain"][:10, FORGET]).mean())
    assert one.floor is None


def test_groups_are_told_apart(found):
    for measure in ("forgetting_quality", "klom_forget", "iam_score"):
        whole = pick(found, measure, "ft")
        parts = [pick(found, measure, "ft", name) for name in NAMES[2:]]
        assert [part.n for part in parts] == [30, 30]
        assert whole.value == pytest.approx(np.mean([part.value for part in parts]))
        assert not [one for one in found if one.measure == measure and one.group in NAMES[:2]]
    assert pick(found, "klom_retain", "ft", NAMES[0]).n == 60


def test_the_original_is_fitted_and_another_retrained_model_is_not(found):
    original, kept, forgotten, retrained = (
        pick(found, "iam_score", one) for one in ("pretrain", "ft", "ga", "retrain")
    )
    assert original.value > kept.value + 10 > forgotten.value + 20
    for unseen in (forgotten, retrained):
        assert unseen.value == pytest.approx(unseen.floor, abs=5)
    assert original.runs == retrained.runs == 8


def test_which_models_belong_together(store, tmp_path):
    more = Store(tmp_path)
    more.add("retrain", 0, 0, reweight=True)
    more.add("retrain", 1, 1, forget=FORGET[:30])
    more.add("ft", 0, 5)  # of another original
    more.add("ft", 1, reweight=True)
    by_label = {one.label: one for one in subjects([*store.runs, *more.runs])}
    ft = by_label["ft"]
    assert [run.seeds.run for run in ft.of_one_original] == list(range(10))
    assert {run.seeds.train for run in ft.of_one_original} == {0}
    assert [run.seeds.train for run in ft.retrained] == list(range(16))
    assert {run.fingerprint("forget") for run in by_label["pretrain"].retrained} == {
        make_splits(FORGET).forget_fingerprint
    }
    assert [run.config["reweight"] for run in by_label["ft + reweight"].retrained] == [True]


def test_too_few_models_are_null_with_the_reason(store):
    few = [run for run in store.runs if run.seeds.run < 6]
    found = list(examine(few))
    assert "8 runs" in pick(found, "forgetting_quality", "ft").reason
    assert pick(found, "forgetting_quality", "ft").runs == 6
    assert pick(found, "iam_score", "ft").value is not None
    alone = [run for run in store.runs if run.method == "ft" or run.seeds.train < 2]
    found = list(examine(alone))
    assert "16 train seeds" in pick(found, "klom_forget", "ft").reason
    assert "two other train seeds" in pick(found, "iam_score", "ft").reason
    assert pick(found, "kl_to_retrain_forget", "retrain").runs == 2
    assert pick(found, "kl_to_retrain_forget", "retrain").low is None


def test_what_is_missing_is_named_as_it_is(store, tmp_path):
    """More runs of what? And are they missing, or their records?"""
    few = [run for run in store.runs if run.seeds.run < 6]
    found = list(examine(few))
    assert "pretrained models of 8 train seeds" in pick(found, "forgetting_quality", "pretrain").reason
    for label in ("retrain", "ft"):
        assert ("16 train seeds and one forget set" in pick(found, "klom_test", label).reason) == (label == "retrain")
    without = [replace(run, folder=tmp_path) if run.method == "ft" else run for run in store.runs]
    found = list(examine(without))
    told = "found 0, as the records of 10 of its 10 runs were not kept"
    assert pick(found, "forgetting_quality", "ft").reason.endswith(told)
    assert pick(found, "iam_score", "ft").reason == NO_OWN_RECORDS
    without = [replace(run, folder=tmp_path) if run.method == "pretrain" else run for run in store.runs]
    assert pick(list(examine(without)), "iam_score", "ft").reason == NO_RECORDS
    without = [run for run in store.runs if run.method != "pretrain"]
    assert pick(list(examine(without)), "iam_score", "ft").reason == NO_MODELS


def test_why_a_floor_is_missing(store, tmp_path):
    a, b = [run for run in store.runs if run.method == "retrain"][:2]

    def reason(*runs: StoredRun) -> str:
        return pick(list(examine_floors(runs)), "mia_auc", "retrain").reason

    def lacking(run: StoredRun, **further: object) -> StoredRun:
        return replace(run, metrics={key: value for key, value in run.metrics.items() if key != "mia_auc"} | further)

    assert reason(a, lacking(b)) == NO_VALUE
    assert reason(a, replace(lacking(b), folder=tmp_path)) == NO_WAY
    told = {"mia_auc": "there are 3 held-out samples"}
    assert reason(a, lacking(b, mia_auc=None, reasons=told)) == told["mia_auc"]


def test_records_of_another_run_are_refused(store, tmp_path):
    """The samples are the same, and another part of them is held out."""
    run = Store(tmp_path).add("retrain", 0)
    records = Records.load(run.folder / RECORDS)
    split = SPLIT.copy()
    split[[VAL[0], TEST[0]]] = 2, 1
    Records.from_logits(ROWS, split, GROUP // 2, GROUP % 2, GROUP, records.logits).save(run.folder / RECORDS)
    others = [one for one in store.runs if one.method == "retrain" and one.seeds.train]
    for part in (examine, examine_floors):
        with pytest.raises(UserError, match="other val samples than the splits"):
            list(part([run, *others]))


def test_runs_of_other_samples_are_refused(store, tmp_path):
    other = Store(tmp_path)
    run = other.add("ft", 0, group=GROUP[::-1].copy())
    rest = [one for one in store.runs if one.method != "ft" or one.seeds.run > 0]
    with pytest.raises(UserError, match=f"{run.folder}.*their records have another target"):
        list(examine([run, *rest]))


def test_floor_of_two_models_by_hand(store):
    a, b = [run for run in store.runs if run.method == "retrain"][:2]
    found = list(examine_floors([a, b]))
    assert pick(found, "retain_acc", "retrain").value == pytest.approx(
        abs(a.metrics["retain_acc"] - b.metrics["retain_acc"])
    )
    assert pick(found, "mia", "retrain").value == pytest.approx(abs(a.metrics["mia"] - b.metrics["mia"]))
    predictions = [Records.load(run.folder / RECORDS).prediction for run in (a, b)]
    agree = 100 * np.mean(predictions[0][TEST] == predictions[1][TEST])
    assert pick(found, "agreement_test", "retrain").value == pytest.approx(agree)
    assert not [one for one in found if one.measure in ("worst_group_acc", "seconds", "speedup")]
    (alone,) = {one.reason for one in examine_floors([a])}
    assert "two train seeds" in alone


def test_models_of_other_forget_sets_make_no_floor(store, tmp_path):
    made = Store(tmp_path)
    apart = [made.add("retrain", seed, seed, forget=FORGET[seed : seed + 50]) for seed in range(6)]
    found = list(examine_floors(apart))
    assert {one.value for one in found} == {None}
    assert {one.reason for one in found} == {TOO_FEW}
    alike = [run for run in store.runs if run.method == "retrain"]
    assert choose_models([*apart, *alike]) == alike[:8]


def test_floor_without_records_has_what_metrics_tell(store, tmp_path):
    runs = [replace(run, folder=tmp_path) for run in store.runs if run.method == "retrain"][:3]
    found = list(examine_floors(runs))
    assert pick(found, "avg_gap", "retrain").n == 3
    assert "records" in pick(found, "kl_to_retrain_test", "retrain").reason
    assert "found 0" in pick(list(examine(runs)), "forgetting_quality", "retrain").reason


def test_interval_of_a_floor_leaves_out_a_model_at_a_time():
    # Distances 2, 4 and 6 between three models: without one of them 6, 4 and 2 are left.
    low, high = jackknife_ends({(0, 1): 2.0, (0, 2): 4.0, (1, 2): 6.0}, 3)
    assert (low + high) / 2 == pytest.approx(4)
    error = np.sqrt(2 / 3 * sum((one - 4) ** 2 for one in (6, 4, 2)))
    assert (high - low) / 2 == pytest.approx(4.302653 * error)  # Student's t with two degrees of freedom
    draw, inside = np.random.default_rng(0), 0
    for _ in range(200):
        place = draw.normal(size=8)
        pairs = {(i, j): abs(place[i] - place[j]) for i in range(8) for j in range(i + 1, 8)}
        low, high = jackknife_ends(pairs, 8)
        inside += low < 2 / np.sqrt(np.pi) < high
    assert 176 < inside < 198  # of 200; of few models it is a little too narrow
