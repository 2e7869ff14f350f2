"""Three seeds apart: what a run is called and is, what it starts from and is compared with, and what sweeps make."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import configuration, ok, refused, with_flags
from test_sweep import planned
from trees import make_run, metrics, shown, table_lines
from workshop import SMALL, Workshop, assert_same_run, metrics_of, weights_of

from datasets.splits import load_splits
from method.configs.cli import command_line, flat_yaml, parse
from method.configs.seeds import Seeds, are_independent, read_seeds
from method.runs.data import read_data
from method.runs.folder import PRETRAIN, RETRAIN, folder_of
from method.runs.originals import starts_of
from method.runs.reference import Asked, facts_of, misfits
from method.runs.stored import StoredRun, read_runs, reference_of
from scripts.group_figure import refuse_dependent
from scripts.report.collect import Report, Row, pretrain_pairs
from scripts.report.compared import RETRAINED, values_of_others
from scripts.sweep.slurm_jobs import plan_slurm_jobs
from scripts.sweep.state import states
from utils.errors import UserError

OF_MIU = "--method miu --unlearning_ratio 0.9"


def name(command: str) -> str:
    return folder_of(configuration(command), "output").name


# Identity and names.


@pytest.mark.parametrize(
    "flags, same_as",
    [
        ("--seed 3 --forget_seed 3", "--seed 3"),
        ("--seed 3 --train_seed 3", "--seed 3"),
        ("--forget_seed 0 --train_seed 0", ""),
        ("--seed 3 --train_seed 1 --forget_seed 3", "--seed 3 --train_seed 1"),
        ("--unlearning_ratio 1 --forget_seed 4", "--unlearning_ratio 1"),  # all are forgotten, whoever draws
    ],
)
def test_a_seed_that_follows_is_the_same_run_as_one_that_is_left_out(flags: str, same_as: str):
    given, left_out = (configuration(f"--method scrub {words}") for words in (flags, same_as))
    assert given.identity() == left_out.identity()
    assert folder_of(given, "output") == folder_of(left_out, "output")


def test_the_identity_is_that_of_earlier_versions_where_all_are_equal():
    assert not {"forget_seed", "train_seed"} & set(configuration(f"{OF_MIU} --seed 3").identity())
    apart = configuration(f"{OF_MIU} --seed 3 --forget_seed 0 --train_seed 1").identity()
    assert (apart["seed"], apart["forget_seed"], apart["train_seed"]) == (3, 0, 1)


@pytest.mark.parametrize(
    "command, own, original, retrained",
    [
        (f"{OF_MIU} --seed 3", "miu_0.9_3", "pretrain_3", "retrain_reweight_0.9_3"),
        (f"{OF_MIU} --seed 3 --train_seed 0", "miu_0.9_3-t0", "pretrain_0", "retrain_reweight_0.9_0-f3"),
        (f"{OF_MIU} --seed 3 --forget_seed 1", "miu_0.9_3-f1", "pretrain_3", "retrain_reweight_0.9_3-f1"),
        (f"{OF_MIU} --seed 3 --forget_seed 1 --train_seed 1", "miu_0.9_3-f1-t1", "pretrain_1",
         "retrain_reweight_0.9_1"),
        (f"{OF_MIU} --forget_seed 1 --train_seed 2 --tag a-f7", "miu-a-f7_0.9_0-f1-t2", "pretrain_2",
         "retrain_reweight_0.9_2-f1"),
        ("--method miu --unlearning_ratio 1 --seed 3 --train_seed 0", "miu_1_3-t0", "pretrain_0",
         "retrain_reweight_1_0"),
    ],
)  # fmt: skip
def test_names_of_a_run_and_of_what_it_needs(command: str, own: str, original: str, retrained: str):
    config = configuration(command)
    assert folder_of(config, "output").name == own
    assert folder_of(config, "output", PRETRAIN).name == original
    assert folder_of(config, "output", RETRAIN, reweight=True).name == retrained
    for method, flags, folder in ((PRETRAIN, {}, original), (RETRAIN, {"reweight": True}, retrained)):
        command = command_line(config, method, **flags).removeprefix("python main.py ")
        assert name(command) == folder, command


def test_the_seeds_of_a_name_stand_after_its_last_underscore():
    for tag in ("x", "x_0.9_3-f1", "f1", "1_2-t3"):
        seeds = Seeds(1, 2, 3)
        command = f"{OF_MIU} --seed 3 --forget_seed 1 --train_seed 2 --tag {tag}"
        assert name(command).rpartition("_")[2] == seeds.spell() == "3-f1-t2"


def test_a_model_that_is_trained_has_its_train_seed_as_its_own():
    for method in ("pretrain", "retrain", "retrain --reweight"):
        given, own = (configuration(f"--method {method} --{flag} 3") for flag in ("train_seed", "seed"))
        assert given.identity() == own.identity()
        assert given.seed == 3
        configuration(f"--method {method} --train_seed 3 --seed 3")
    assert name("--method retrain --train_seed 3 --forget_seed 1") == "retrain_0.5_3-f1"


@pytest.mark.parametrize("method", ["pretrain", "retrain"])
def test_two_seeds_of_a_trained_model_are_refused(method: str):
    assert refused(f"--method {method} --train_seed 3 --seed 1") == (
        f"{method} trains a model, and its train seed is its own: train_seed is 3 (--train_seed) and seed is 1 "
        "(--seed); leave one of them out"
    )


def test_forget_seeds_where_nothing_is_drawn_are_refused(tmp_path: Path):
    assert "--forget_seed is a flag of" in refused("--method pretrain --forget_seed 1")
    (tmp_path / "names.txt").write_text("row:1\n")
    told = refused("--method miu --forget_seed 1", forget_list=tmp_path / "names.txt")
    assert (
        told == "forget_seed 1 (--forget_seed) does not apply to --forget_list, all of which is forgotten; leave it out"
    )


def test_a_list_has_one_retrained_model_for_all_seeds(tmp_path: Path):
    (tmp_path / "names.txt").write_text("row:1\n")
    words = ["--method", "miu", "--forget_list", str(tmp_path / "names.txt"), "--seed", "3", "--train_seed", "0"]
    config = parse(words).config
    assert config.seeds == (None, 0, 3)
    assert folder_of(config, "output").name == "miu_1_3-t0"
    assert folder_of(config, "output", RETRAIN).name == "retrain_1_0"


def test_printed_configuration_keeps_what_was_given(tmp_path: Path):
    typed = f"{OF_MIU} --forget_seed 0 --train_seed 0"
    (tmp_path / "kept.yaml").write_text(flat_yaml(configuration(typed)))
    again = configuration(f"--method miu --config {tmp_path / 'kept.yaml'} --seed 5")
    assert again.seeds == (0, 0, 5)
    assert "forget_seed: 0  # --forget_seed\ntrain_seed: 0  # --train_seed\n" in flat_yaml(configuration(typed))


def test_dry_run_says_where_they_differ():
    told = ok(f"{OF_MIU} --forget_seed 0 --train_seed 3 --seed 1 --dry_run").out.splitlines()[0]
    assert told == "miu on digits, split0, ratio 0.9, seed 1, forget_seed 0, train_seed 3"


# Stored runs.


def test_seeds_are_read_from_runs_of_every_version():
    old = {"seed": 3, "unlearning_ratio": 0.9}
    assert read_seeds(old, forgets=True) == (3, 3, 3)
    assert read_seeds(old, forgets=False) == (None, 3, 3)
    assert read_seeds({**old, "forget_seed": None, "train_seed": 0}, forgets=True) == (3, 0, 3)
    assert read_seeds({**old, "unlearning_ratio": 1.0}, forgets=True) == (None, 3, 3)
    assert read_seeds({**old, "forget_list": "names.txt"}, forgets=True) == (None, 3, 3)


@pytest.mark.parametrize(
    "found, independent",
    [
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], True),
        ([(0, 0, 0), (0, 1, 0), (0, 2, 0)], True),  # who is forgotten, and how, is held fixed
        ([(0, 0, 0), (0, 0, 1), (0, 0, 2)], False),  # one retrained model for all
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], False),
        ([(0, 0, 0), (1, 0, 1)], False),  # one original
        ([(0, 0, 0), (0, 1, 1), (1, 2, 2)], False),  # two of three have forgotten the same
        ([(None, 0, 0), (None, 1, 1)], True),
        ([(0, 0, 0)], True),
    ],
)
def test_runs_that_share_a_trained_model_are_not_independent(found: list[tuple], independent: bool):
    assert are_independent([Seeds(*one) for one in found]) == independent


def test_a_stored_run_is_paired_by_train_seed_and_forget_set(tmp_path: Path):
    """Two unlearning seeds have one original and one retrained model; another train seed has neither."""

    def stored(folder: str, method: str, prints: str, **seeds: Any) -> None:
        path = make_run(tmp_path, f"split0/{folder}", method, metrics(), **seeds)
        config = yaml.safe_load((path / "config.yaml").read_text())
        config["fingerprints"] = {"data": "data", "forget": None if method == "pretrain" else prints}
        (path / "config.yaml").write_text(yaml.safe_dump(config))

    stored("pretrain_0", "pretrain", "", seed=0)
    stored("retrain_0.9_0", "retrain", "f0", seed=0)
    stored("retrain_0.9_0-f1", "retrain", "f1", seed=0, forget_seed=1)
    for seed in (0, 1, 2):
        stored(f"salun_0.9_{seed}-f0-t0", "salun", "f0", seed=seed, forget_seed=0, train_seed=0)
    stored("salun_0.9_1-t0", "salun", "f1", seed=1, train_seed=0)
    stored("salun_0.9_1", "salun", "f1", seed=1)
    runs = {run.folder.name: run for run in read_runs(tmp_path)}
    found = {name: reference_of(run, [*runs.values()]) for name, run in runs.items() if run.method == "salun"}
    assert {name: run and run.folder.name for name, run in found.items()} == {
        **{f"salun_0.9_{seed}-f0-t0": "retrain_0.9_0" for seed in (0, 1, 2)},
        "salun_0.9_1-t0": "retrain_0.9_0-f1",
        "salun_0.9_1": None,
    }
    starts = {name for name, run in runs.items() if run.method == "salun" and runs["pretrain_0"].is_original_of(run)}
    assert starts == set(found) - {"salun_0.9_1"}
    assert runs["salun_0.9_2-f0-t0"].seeds.models == runs["retrain_0.9_0"].seeds.models == (0, 0)


def test_the_picture_refuses_runs_that_share_a_model():
    def rows(*seeds: dict[str, int]) -> list[Row]:
        runs = (StoredRun(Path("run"), {"method": "miu", "unlearning_ratio": 0.9, **own}) for own in seeds)
        return [Row("miu", (), run, {}) for run in runs]

    apart, shared = rows({"seed": 0}, {"seed": 1}), rows({"seed": 0}, {"seed": 1, "train_seed": 0})
    refuse_dependent(apart)
    with pytest.raises(UserError, match="the 2 runs of miu share original or retrained models"):
        refuse_dependent(shared)


# Sweeps.


def test_a_sweep_makes_each_trained_model_once(tmp_path: Path):
    grid = {"dataset": "digits", "unlearning_ratio": 0.9, "method": ["retrain", "salun"], "forget_seed": 0}
    runs = planned(tmp_path, **grid, train_seed=[0, 1], seed=[0, 1, 2])
    assert [run.folder.name for run in runs] == [
        *("pretrain_0", "pretrain_1", "retrain_0.9_0", "retrain_0.9_1-f0"),
        *("salun_0.9_0", "salun_0.9_0-t1", "salun_0.9_1-f0-t0", "salun_0.9_1-f0", "salun_0.9_2-f0-t0"),
        "salun_0.9_2-f0-t1",
    ]
    assert [run.needs for run in runs] == [(), (), (), (), *[(0, 2), (1, 3)] * 3]
    assert [run.added for run in runs] == [True, True, *[False] * 8]
    for run in runs:  # the listed command is the run, with two seeds given for none that is trained
        assert folder_of(parse(list(run.arguments)).config, run.config.store_dir) == run.folder
    assert "--train_seed" not in " ".join(runs[3].arguments)


def test_a_sweep_over_train_seeds_alone_keeps_who_is_forgotten(tmp_path: Path):
    """What is not given follows --seed, for the retrained model as for the run that it is compared with."""
    runs = planned(tmp_path, dataset="digits", unlearning_ratio=0.9, method="salun", train_seed=[4, 5], seed=3)
    assert [run.folder.name for run in runs] == [
        *("pretrain_4", "pretrain_5", "retrain_0.9_4-f3", "retrain_0.9_5-f3", "salun_0.9_3-t4", "salun_0.9_3-t5"),
    ]


def test_a_list_in_a_sweep_has_no_forget_seed(tmp_path: Path):
    (tmp_path / "names.txt").write_text("row:1\n")
    grid = {"dataset": "digits", "method": "salun", "forget_list": str(tmp_path / "names.txt")}
    runs = planned(tmp_path, **grid, forget_seed=[0, 1], seed=0)
    assert [run.folder.name for run in runs] == ["pretrain_0", "retrain_1_0", "salun_1_0"]


def test_a_chain_of_jobs_has_the_model_that_it_starts_from(tmp_path: Path):
    grid = {"dataset": "digits", "unlearning_ratio": 0.9, "method": "salun", "forget_seed": 0}
    runs = planned(tmp_path, **grid, train_seed=[0, 1], seed=[5, 6])
    assert plan_slurm_jobs(runs, states(runs), None) == "".join(
        f"digits/small_cnn/{seed} {stage} {numbers} -\n"
        for seed, all_numbers in ((0, ("0", "2", "4,6")), (1, ("1", "3", "5,7")))
        for stage, numbers in zip(("pretrain", "retrain", "unlearn"), all_numbers, strict=True)
    )


# Whole runs.


@pytest.fixture(scope="module")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One original, one retrained model, and two unlearning seeds; nobody may change them."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("seeds"), with_flags(SMALL, "--epochs 1"))
    for variant in ("pretrain", "retrain", "salun", "salun --seed 1 --forget_seed 0 --train_seed 0"):
        workshop.ok(variant)
    return workshop


def config_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.mark.slow
def test_two_unlearning_seeds_share_an_original_and_a_retrained_model(made: Workshop):
    first, second = (made.place("salun").with_name(name) for name in ("salun_0.5_0", "salun_0.5_1-f0-t0"))
    one, other = (config_of(folder) for folder in (first, second))
    assert one["fingerprints"] == other["fingerprints"]
    assert one["provenance"]["original_sha256"] == other["provenance"]["original_sha256"]
    assert one["inputs"]["reference"] == other["inputs"]["reference"]
    assert metrics_of(first)["reference"] == metrics_of(second)["reference"] == "retrain_0.5_0"
    assert metrics_of(second)["tow"] is not None
    assert weights_of(first)["head.weight"].ne(weights_of(second)["head.weight"]).any()
    assert other["identity"] == {**one["identity"], "seed": 1, "forget_seed": 0, "train_seed": 0}


@pytest.mark.slow
def test_the_same_seeds_in_other_words_are_already_done(made: Workshop):
    for variant in ("salun --forget_seed 0", "salun --train_seed 0 --seed 0", "retrain --train_seed 0"):
        assert "already done" in made.run(variant).out


@pytest.mark.slow
def test_the_own_seed_alone_decides_how_a_run_is_unlearned(made: Workshop, tmp_path: Path):
    """With another forget seed the samples are others, and nothing else; the original is the same file."""
    workshop = Workshop(made.data_dir, tmp_path, made.settings)
    for variant in ("pretrain", "retrain --forget_seed 1"):
        workshop.ok(variant)
    workshop.ok("salun --forget_seed 1")
    folder = workshop.place("salun").with_name("salun_0.5_0-f1")
    assert metrics_of(folder)["reference"] == "retrain_0.5_0-f1"
    prints = {place: config_of(place)["fingerprints"] for place in (folder, made.place("salun"))}
    assert len({one["data"] for one in prints.values()}) == 1
    assert len({one["forget"] for one in prints.values()}) == 2
    alone = configuration(made.command("retrain --seed 1"), **made.folders())
    expected = load_splits(workshop.store / "waterbird" / "small_cnn" / "split0" / folder.name / "splits.npz").forget
    assert read_data(alone).splits.forget.tolist() == expected.tolist()
    assert_same_run(workshop.place("pretrain"), made.place("pretrain"))


@pytest.mark.slow
def test_a_model_of_another_train_seed_is_refused(made: Workshop):
    original = made.place("pretrain")
    command = made.command("salun --train_seed 1")
    told = refused(command, **made.folders(), original=original)
    assert f"{original}/model.pt does not fit: its train seed is 0, this run's is 1; give --train_seed 0, or" in told
    told = refused(command, **made.folders())
    assert "there is none in" in told
    assert "--method pretrain" in told
    assert "--seed 1" in told
    other = config_of(made.place("salun"))
    other["config"]["train_seed"] = 1
    found = [*misfits(facts_of(other), facts_of(config_of(made.place("retrain"))), Asked(reweight=False))]
    assert found == [("train seed", 0, 1)]


def test_faces_are_cut_by_the_train_seed(data_dir: Path):
    """Which tenth is the validation set belongs to training; the others draw within what is left."""

    def data(flags: str) -> Any:
        command = f"--method scrub --dataset fairface --forget_groups 3-9:White {flags}"
        return read_data(configuration(command, data_dir=data_dir)).splits

    plain, own, forget, train = (data(flags) for flags in ("", "--seed 1 --train_seed 0 --forget_seed 0",
                                                           "--forget_seed 1", "--train_seed 1"))  # fmt: skip
    assert plain.val.tolist() == own.val.tolist() == forget.val.tolist() != train.val.tolist()
    assert plain.forget.tolist() == own.forget.tolist() != forget.forget.tolist()


# Reports.


def kept_tree(root: Path) -> Path:
    """Train seeds 0 and 1 by unlearning seeds 5 and 6, and the forget set that all have."""
    for train in (0, 1):
        for method, seeds in [("retrain", (train,)), ("salun", (5, 6))]:
            for seed in seeds:
                apart = {"seed": seed, "train_seed": train, "forget_seed": 0}
                values = metrics(10.0 * train + seed * (method == "salun"))
                path = make_run(root, f"split0/{method}_0.9_{Seeds(0, train, seed).spell()}", method, values, **apart)
                stored = yaml.safe_load((path / "config.yaml").read_text())
                stored["fingerprints"] = {"data": "data", "forget": "f0"}
                (path / "config.yaml").write_text(yaml.safe_dump(stored))
    return root


def test_rows_of_a_cell_are_compared_with_the_model_of_their_train_seed(tmp_path: Path):
    report = Report(read_runs(kept_tree(tmp_path)), {}, ["test_acc"])
    ((key, rows),) = report.tables.items()
    assert report.missing == []
    assert [(row.label, row.seeds.spell()) for row in rows] == [
        *(("retrain", "0"), ("retrain", "1-f0")),
        *(("salun", "5-f0-t0"), ("salun", "5-f0-t1"), ("salun", "6-f0-t0"), ("salun", "6-f0-t1")),
    ]
    differences = [row.difference("test_acc") for row in rows]
    assert differences == [0, 0, 5, 5, 6, 6]
    for against in (RETRAINED, "retrain"):
        others = values_of_others(report, key, against)
        assert [row.minus(others[row], "test_acc") for row in rows] == differences
    others = values_of_others(report, key, "salun")
    assert [row.minus(others[row], "test_acc") for row in rows if row in others] == [0, 0, 0, 0]


def test_a_report_names_each_run_by_its_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = table_lines(shown(kept_tree(tmp_path), capsys, "--each"))
    assert [line[1] for line in lines] == ["0", "1-f0", "5-f0-t0", "5-f0-t1", "6-f0-t0", "6-f0-t1"]
    told = shown(tmp_path, capsys)
    assert "- the 4 runs of salun share trained models, and their ± is not that of independent ones" in told
    assert "runs of retrain share" not in told
    assert "differ in" not in told


def test_a_pretrained_model_has_one_row_for_all_unlearning_seeds(tmp_path: Path):
    kept_tree(tmp_path)
    path = make_run(tmp_path, "pretrain_1", "pretrain", metrics(90.0), seed=1)
    stored = yaml.safe_load((path / "config.yaml").read_text())
    stored["fingerprints"]["data"] = "data"
    (path / "config.yaml").write_text(yaml.safe_dump(stored))
    runs = read_runs(tmp_path)
    pairs = pretrain_pairs(runs, starts_of(runs))
    assert [(one.folder.name, other.seeds.models) for one, other in pairs] == [("pretrain_1", (0, 1))]
