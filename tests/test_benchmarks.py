"""The benchmarks run, on little: they follow the program's interfaces and nothing else tells when those change."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli import ok

ROOT = Path(__file__).parent.parent


def told(name: str, *words: str) -> list[str]:
    """The lines that a benchmark prints."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / name), *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, sides",
    [
        (
            "engine.py --model small_cnn --image_size 32 --rows 64 --repetitions 1",
            ["bare loop", "bare loop, from bytes", "engine"],
        ),
        ("startup.py --rows 500 --repetitions 1", ["import torch", "--help", "--print_config"]),
        (
            "attack.py --retain 400 --val 50 --forget 50 --test 50 --repetitions 1",
            ["grown forests", "ours", "equal to the last digit: {'mia': True, 'mia_baseline': True}"],
        ),
        (
            "interval_coverage.py --repetitions 4 --draws 20 --only tied",
            [
                "20,000 test samples, 2,000 draws",
                "| EO 0: both tied | 500 |",
                "| worst group 85 minus 85, 40 tied | 30 |",
            ],
        ),
        ("interval_coverage.py --repetitions 4 --only accuracies", ["| 80 minus 70, same images |"]),
        (
            "forgetting_quality.py --samples 800 --forget 200 --runs 16",
            ["forgetting quality and score ", "KLoM ", "IAM ", "noise floors ", "peak memory "],
        ),
        ("interval_coverage.py --repetitions 4 --only nested", ["| 0.5 : 1 | 10 x 5 |"]),
        ("audit.py --only time --samples 400 --runs 4 --share 0.5", ["400 samples, 4 runs each of pretrain, retrain,"]),
        ("audit.py --only coverage --repetitions 2", ["| 0 | 0 | 0 | 0.9 | 8 |", "| 0.5 | 0.5 | 0.3 | 0.9 | 100 |"]),
    ],
)
def test_every_side_is_measured(words: str, sides: list[str]):
    lines = told(*words.split())
    for side in sides:
        assert any(line.startswith(side) for line in lines), lines


@pytest.mark.slow
def test_what_tells_of_information(tmp_path: Path):
    common = f"--dataset digits --seed 3 --epochs 1 --threads 1 --store_dir {tmp_path} --checkpoint_dir {tmp_path}"
    ok(f"--method pretrain {common}")
    for rate in ("0.02", "0.03"):
        ok(f"--method miu --unlearning_ratio 0.9 {common} --lr {rate} --tag lr{rate}")
    runs = [str(path.parent) for path in sorted(tmp_path.glob("digits/**/miu-*/model.pt"))]
    (pretrained,) = map(str, tmp_path.glob("digits/*/pretrain_3"))
    cosines = told("kl_gradient.py", pretrained, "--draws", "1")[-3:]
    assert [line.split()[0] for line in cosines] == ["0.1%", "0.3%", "1.0%"]
    assert all(float(one) <= 1 for one in cosines[-1].split()[5::4])
    table = told("group_information.py", *runs, "--folds", "2", "--critic_steps", "20")
    assert len(runs) == 2
    for line in table[-2:]:
        entropy, *estimates = map(float, line.split()[1:6])
        assert 1 < entropy < 1.39  # log 4, less as the groups are not alike
        assert all(-1 < value < entropy for value in estimates)


@pytest.mark.slow
def test_where_miu_holds(tmp_path: Path):
    common = f"--dataset digits --epochs 1 --threads 1 --checkpoint_dir {tmp_path}"
    for method in ("pretrain", "retrain --reweight --unlearning_ratio 0.9"):
        ok(f"--method {method} {common} --seed 3 --store_dir {tmp_path}")
    flags = [*common.split(), "--unlearning_ratio", "0.9"]
    steps = [
        "--label",
        "run",
        "--every",
        "40",
        "--seed",
        "3",
        "--tag",
        "steps",
        "--intervene",
        "own_mean",
        "--store_dir",
    ]
    told("miu_steps.py", str(tmp_path / "steps.csv"), *steps, str(tmp_path), *flags)
    rows = read_csv(tmp_path / "steps.csv")
    assert {row["phase"] for row in rows} == {"forget", "retain"}
    assert all(float(row["gradient"]) > 0 for row in rows)
    assert [row["step"] for row in rows if row["forget_acc"]] == ["0", "40"]
    told("miu_steps.py", str(tmp_path / "steps.csv"), "--draw", str(tmp_path / "steps.svg"))
    assert ">run<" in (tmp_path / "steps.svg").read_text()
    tried = ["--candidates", "fine-tuning", "enumerated", "classifier", "--seeds", "3", "--cells", "0.01:0.1"]
    told("miu_candidates.py", str(tmp_path), str(tmp_path / "tried.csv"), *tried, *flags)
    assert [row["variant"] for row in read_csv(tmp_path / "tried.csv")] == ["fine-tuning", "enumerated", "classifier"]
    for folder in tmp_path.glob("digits/*/*/miu-enumerated*"):
        shutil.rmtree(folder)  # an estimator that the program has not
    lines = told("miu_map.py", str(tmp_path / "map.csv"), "--runs", str(tmp_path), "--information")
    assert lines[-2:] == ["classifier: 0 of 1 cells hold", "mine: 0 of 1 cells hold"]  # one seed has no interval
    assert all(-1 < float(row["information"]) < 2.3 for row in read_csv(tmp_path / "map.csv"))


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
def test_a_cell_holds_that_is_nearer_than_fine_tuning_beyond_noise_without_a_collapse(tmp_path: Path):
    rows = [
        "variant,rate,lambda,seed,UA,retrained_UA,distance,information,collapsed",
        *(f"fine-tuning,0.01,0.1,{seed},{80 + seed},70,4,1.5,0" for seed in range(3)),
        *(f"mine,0.01,0.1,{seed},{72 + seed + seed % 2},70,2,1.5,0" for seed in range(3)),  # nearer by 8, 7 and 8
        *(f"mine,0.1,0.1,{seed},{80 + seed - (seed == 0) * 9},70,4,1.5,0" for seed in range(3)),  # by 9, 0 and 0
        *(f"mine,0.01,1,{seed},{80 + seed},70,4,{1.2 + seed / 100},0" for seed in range(3)),  # less information
        *(f"mine,0.1,1,{seed},{72 + seed},70,2,1.5,{seed // 2}" for seed in range(3)),  # one collapses
        *(f"mine,0.1,10,{seed},,,,,1" for seed in range(3)),  # no loss was finite
    ]
    (tmp_path / "map.csv").write_text("\n".join(rows))
    lines = told("miu_map.py", str(tmp_path / "map.csv"), "--out", str(tmp_path / "map.svg"))
    held = {tuple(line.split()[1:3]): line.split()[-1] for line in lines if line.startswith("mine ")}
    yes, no = "True", "False"
    assert held == {("0.01", "0.1"): yes, ("0.1", "0.1"): no, ("0.01", "1"): yes, ("0.1", "1"): no, ("0.1", "10"): no}
    assert lines[-1] == "mine: 2 of 5 cells hold"
    assert "seeds collapse" in (tmp_path / "map.svg").read_text()
