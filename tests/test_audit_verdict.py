"""What an audit comes to: whether its controls pass, and which methods are told beyond the placebo."""

import pytest

from method.evaluation.audit import measure_of
from method.runs.findings import Finding
from scripts.report.audit import OWN, Audit, AuditColumn
from scripts.report.audit_verdict import judge

KINDS = {"pretrain": "pretrain", "retrain": "retrain", "salun": "", "scrub": "", "ft": ""}
Numbers = tuple[float | None, float | None, float | None]
FOUND, QUIET, OPEN = (40.0, 30.0, 50.0), (1.0, -3.0, 5.0), (9.0, None, None)


def verdict(excess: dict[str, Numbers], key: str = "lira_excess", floor: float | None = None) -> dict[str, str]:
    column = AuditColumn(measure_of(key))
    found = {
        (name, column, None, OWN): Finding(key, (), name, value, low=low, high=high, floor=floor, runs=9)
        for name, (value, low, high) in excess.items()
    }
    audit = Audit(list(excess), {name: name.upper() for name in KINDS}, [column], [], [], found, [], {})
    return {one["about"]: one["text"] for one in judge(audit, KINDS)}


def test_controls_that_pass_and_what_each_method_comes_to() -> None:
    told = verdict({"pretrain": FOUND, "retrain": QUIET, "salun": (9.0, 4.0, 14.0), "scrub": QUIET, "ft": OPEN})
    assert told == {
        "Controls": "U-LiRA passes (the original is found, retrained models of another seed are not).",
        "Methods": (
            "Told from retrained models beyond the placebo, by more than noise: SALUN. Not told beyond noise: SCRUB."
            " Too few runs to say whether told beyond the placebo: FT."
        ),
    }


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"pretrain": QUIET, "retrain": QUIET}, "fails (PRETRAIN is not found: 1.0 with 95 % interval −3.0 to 5.0)."),
        ({"pretrain": FOUND, "retrain": FOUND}, "fails (RETRAIN is told from one of another seed: 40.0 with"),
        ({"pretrain": FOUND, "retrain": (-4.0, -7.0, -1.0)}, "fails (RETRAIN is told from one of another seed: −4.0"),
        ({"pretrain": FOUND}, "is not checked in full (no number of a retrained model of another seed)."),
        ({"salun": FOUND}, "is not checked in full (no number of the original; no number of a retrained model"),
        ({"pretrain": OPEN, "retrain": QUIET}, "is not checked in full (PRETRAIN has too few runs)."),
        ({"pretrain": (None, None, None), "retrain": QUIET}, "is not checked in full (no number of the original)."),
    ],
)
def test_controls_that_do_not_pass(numbers: dict[str, Numbers], told: str) -> None:
    text = verdict(numbers)["Controls"]
    assert text.startswith(f"U-LiRA {told}")
    assert ("Of 20 intervals" in text) == (" fails " in text)


@pytest.mark.parametrize(
    ("key", "value", "floor", "told"),
    [
        ("forgetting_quality", 0.05, 0.13, "F passes (the original is found, by value alone)."),
        ("forgetting_quality", 0.2, 0.13, "F fails (PRETRAIN is not found: 0.200, by value alone)."),
        ("iam_score", 81.0, 14.0, "IAM passes (the original is found, by value alone)."),
        ("iam_score", 81.0, None, "IAM is not checked in full (PRETRAIN has too few runs)."),
    ],
)
def test_what_has_no_interval_is_compared_with_its_floor(key: str, value: float, floor: float, told: str) -> None:
    assert verdict({"pretrain": (value, None, None)}, key, floor)["Controls"].startswith(told)


def test_an_attack_of_which_50_is_guessing_is_judged_by_50() -> None:
    numbers = {"pretrain": (80.0, 60.0, 100.0), "retrain": (51.0, 45.0, 57.0)}
    assert verdict(numbers, "ruli_privacy_auc")["Controls"].startswith("RULI privacy passes")
    assert "fails" in verdict(numbers | {"pretrain": (60.0, 40.0, 80.0)}, "ruli_privacy_auc")["Controls"]


def test_without_a_test_that_has_controls_there_is_no_verdict() -> None:
    assert verdict({"salun": FOUND}, "relearn_gap") == {}
