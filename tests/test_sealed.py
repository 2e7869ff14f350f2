"""A saved state and a model say whose they are, and a flipped bit in one never ends in another result."""

import io
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from cli import refused, run, written
from workshop import Workshop, assert_same_run, interruptions

from method.training.resume import Resumable
from utils import sealed
from utils.tensors import load_tensors, save_sealed

FACTS = {"identity": "of a run", "seed": 3, "lr": 0.1, "original": None}
MIU = "miu --miu_critic_steps_first 3 --miu_critic_steps 2"
THREE = ("pretrain", MIU, "scrub --scrub_rewind")
FROM_ORIGINAL = (MIU, "salun", "l1_sparse --reweight")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_sealed(tmp_path / "state.pt", {"weights": torch.arange(12.0), "epoch": 2}, FACTS)
    return tmp_path / "state.pt"


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def test_a_sealed_file_is_a_torch_file_like_any_other(file: Path):
    assert sealed.read_facts(file) == FACTS
    stored = torch.load(file, weights_only=True)
    assert torch.equal(stored["weights"], torch.arange(12.0))
    assert torch.equal(torch.load(file, weights_only=True, mmap=True)["weights"], stored["weights"])
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None


def loads(file: Path) -> bool:
    try:
        with sealed.opened(file) as (opened, _):
            load_tensors(opened)
    except Exception:  # torch raises nearly anything
        return False
    return True


def test_no_bit_of_it_can_flip_unnoticed(file: Path):
    """Every 21st of all bits, which reaches each of the eight in a byte."""
    whole = file.read_bytes()
    assert loads(file)
    for bit in range(0, 8 * len(whole), 21):
        flip(file, bit)
        assert not loads(file)
        file.write_bytes(whole)


@pytest.mark.parametrize("left", [0, 10, 100, -1, -65, -200])
def test_half_a_file_is_damaged(file: Path, left: int):
    file.write_bytes(file.read_bytes()[:left])
    assert not loads(file)


def test_a_file_of_an_earlier_version_has_no_facts(tmp_path: Path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "old.pt")
    with sealed.opened(tmp_path / "old.pt") as (opened, facts):
        assert facts is None
        assert load_tensors(opened)["weights"].tolist() == [0, 0]
    (tmp_path / "other.pt").write_bytes(b"no archive")
    assert sealed.read_facts(tmp_path / "other.pt") is None


def test_an_archive_that_grows_when_it_is_opened_is_refused(tmp_path: Path):
    """A gigabyte of zeros in a megabyte."""
    torch.save({"weights": torch.zeros(2**20)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with (tmp_path / "bomb.pt").open("rb") as opened, pytest.raises(ValueError, match="compressed"):
        load_tensors(opened)
    with pytest.raises(ValueError, match="do not fit"):
        sealed.seal(io.BytesIO(b"PK"), {"long": "x" * 70_000})


# Whole runs.


@pytest.fixture(scope="module")
def runs(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Runs at their end; nobody may change them."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("runs"))
    for variant in ("pretrain", "retrain", "retrain --reweight", *THREE[1:], *FROM_ORIGINAL[1:]):
        workshop.ok(variant)
    return workshop


@pytest.fixture(scope="module")
def stopped(runs: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Half-finished runs of three methods in one store; nobody may change them."""
    workshop = Workshop(runs.data_dir, tmp_path_factory.mktemp("stopped"))
    with interruptions():
        for variant in THREE:
            assert workshop.run(variant, checkpoint_dir=runs.store).code == 75
    return workshop


@pytest.fixture
def half(stopped: Workshop, tmp_path: Path) -> Workshop:
    """A copy of them."""
    return Workshop(stopped.data_dir, Path(shutil.copytree(stopped.store, tmp_path / "half")))


def flipped_bits(variant: str, file: Path, n: int) -> list[int]:
    return random.Random(variant + file.name).sample(range(8 * file.stat().st_size), n)


@pytest.mark.parametrize("n", [pytest.param(1, id="1"), pytest.param(40, marks=pytest.mark.slow, id="40")])
def test_a_flipped_bit_in_a_saved_state_never_ends_in_another_result(
    n: int, half: Workshop, runs: Workshop, tmp_path: Path
):
    for variant in THREE:
        state = half.place(variant) / "last.pt"
        whole = state.read_bytes()
        for bit in flipped_bits(variant, state, n):
            flip(state, bit)
            result = half.run(variant, checkpoint_dir=runs.store)
            assert result.code == 1
            assert f"{state} is damaged" in result.err
            state.write_bytes(whole)
        assert half.ok(variant, checkpoint_dir=runs.store) == half.place(variant)
        assert_same_run(half.place(variant), runs.place(variant))


def test_the_weights_that_a_rewind_keeps_are_sealed_and_go_with_the_run(half: Workshop, runs: Workshop):
    folder, file = half.place(THREE[2]), half.place(THREE[2]) / "last_after_1.pt"
    assert sealed.read_facts(file) == sealed.read_facts(folder / "last.pt")
    flip(file, 8 * 1000)
    result = half.run(THREE[2], checkpoint_dir=runs.store)
    assert result.code == 1
    assert f"{file} is damaged, or no saved state of this run (ValueError): --overwrite" in result.err
    half.ok(f"{THREE[2]} --overwrite", checkpoint_dir=runs.store)
    assert set(written(folder)) == set(written(runs.place(THREE[2])))
    assert_same_run(folder, runs.place(THREE[2]))


@pytest.mark.parametrize("n", [pytest.param(1, id="1"), pytest.param(40, marks=pytest.mark.slow, id="40")])
def test_a_flipped_bit_in_a_model_never_ends_in_another_result(n: int, runs: Workshop, tmp_path: Path):
    checkpoints = Path(shutil.copytree(runs.store, tmp_path / "checkpoints"))
    model = checkpoints / "waterbird/small_cnn/pretrain_0/model.pt"
    whole = model.read_bytes()
    workshop = Workshop(runs.data_dir, tmp_path / "store")
    for variant in FROM_ORIGINAL:
        for bit in flipped_bits(variant, model, n):
            flip(model, bit)
            sentence = refused(workshop.command(variant), **workshop.folders(checkpoint_dir=checkpoints))
            assert f"{model} is damaged" in sentence
            model.write_bytes(whole)
    assert not [name for name in written(tmp_path / "store") if not name.endswith(("verified.json", "digests.json"))]


@pytest.mark.parametrize(
    "other, told",
    [
        ("--seed 1", "seed was 1 and is 0"),
        ("--lr 0.02", "lr was 0.02 and is 0.01"),
        ("--momentum 0.5", "momentum was 0.5 and is 0.9"),
    ],
)
def test_a_saved_state_of_another_run_is_refused(other: str, told: str, half: Workshop, tmp_path: Path, monkeypatch):
    stranger = Workshop(half.data_dir, tmp_path / "stranger")
    stop_in_epoch_one(monkeypatch, stranger, f"pretrain {other}")
    state = next((tmp_path / "stranger").rglob("last.pt"))
    shutil.copy(state, half.place("pretrain"))
    sentence = refused(half.command("pretrain"), **half.folders())
    assert "half finished and would go on differently" in sentence
    assert told in sentence


def test_a_saved_state_that_has_seen_the_forgotten_samples_is_refused(
    half: Workshop, runs: Workshop, tmp_path: Path, monkeypatch
):
    """Of the same run at another ratio."""
    stranger = Workshop(half.data_dir, tmp_path / "stranger")
    stop_in_epoch_one(monkeypatch, stranger, f"{THREE[2]} --unlearning_ratio 0.1", checkpoint_dir=runs.store)
    shutil.copy(next((tmp_path / "stranger").rglob("last.pt")), half.place(THREE[2]))
    sentence = refused(half.command(THREE[2]), **half.folders(checkpoint_dir=runs.store))
    for told in ("unlearning ratio was 0.1 and is 0.5", "forget fingerprint was"):
        assert told in sentence


def stop_in_epoch_one(monkeypatch: pytest.MonkeyPatch, workshop: Workshop, variant: str, **folders: Path) -> None:
    """Leave a half-finished run."""
    save = Resumable.save

    def saving(self: Resumable, *arguments) -> None:
        save(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Resumable, "save", saving)
        assert workshop.run(variant, **folders).code == 75


def test_a_state_of_an_earlier_version_goes_on_and_says_so(half: Workshop, runs: Workshop):
    state = half.place("pretrain") / "last.pt"
    torch.save(torch.load(state, weights_only=True), state)
    assert half.ok("pretrain") == half.place("pretrain")
    assert_same_run(half.place("pretrain"), runs.place("pretrain"))
    model = half.place("pretrain") / "model.pt"
    torch.save(torch.load(model, weights_only=True), model)
    result = half.run("salun")
    assert result.code == 0
    assert f"{model} was written by an earlier version, and has no checksum" in result.err


def test_a_model_of_another_run_than_the_config_beside_it_is_refused(runs: Workshop, tmp_path: Path):
    """Trained by group DRO: the same data, architecture and seed."""
    store = Path(shutil.copytree(runs.store, tmp_path / "store"))
    workshop = Workshop(runs.data_dir, store)
    robust = workshop.ok("pretrain --rob_approach dro")
    shutil.copy(robust / "model.pt", workshop.place("pretrain"))
    sentence = refused(f"{workshop.command('salun')} --tag again", **workshop.folders())
    assert "is of another run than the config.yaml beside it: " in sentence
    assert "rob approach is dro there and none here" in sentence
    (workshop.place("pretrain") / "config.yaml").unlink()
    assert run(f"{workshop.command('salun')} --tag again", **workshop.folders()).code == 0


# A run that is done has what a run has.


@pytest.mark.parametrize("name", ["model.pt", "metrics.json", "records.npz"])
def test_a_finished_run_that_has_lost_a_file_is_made_again(name: str, runs: Workshop, tmp_path: Path):
    workshop = Workshop(runs.data_dir, Path(shutil.copytree(runs.store, tmp_path / "store")))
    folder = workshop.place("pretrain")
    (folder / name).unlink()
    result = workshop.run("pretrain")
    assert result.code == 0
    assert result.err.count(f"{folder} was done, and has lost {name}: it is made again") == 1
    assert_same_run(folder, runs.place("pretrain"))


def test_an_empty_marker_is_of_an_earlier_version(runs: Workshop, tmp_path: Path):
    workshop = Workshop(runs.data_dir, Path(shutil.copytree(runs.store, tmp_path / "store")))
    folder = workshop.place("pretrain")
    (folder / "done").write_text("")
    assert workshop.run("pretrain").out == f"already done: {folder}\n"
    (folder / "records.npz").unlink()
    assert "has lost records.npz: " in workshop.run("pretrain").err


def test_a_folder_kept_for_its_numbers_is_done(runs: Workshop, tmp_path: Path):
    """Its marker says what it has."""
    workshop = Workshop(runs.data_dir, Path(shutil.copytree(runs.store, tmp_path / "store")))
    folder = workshop.place("salun")
    for name in ("model.pt", "records.npz", "splits.npz"):
        (folder / name).unlink()
    (folder / "done").write_text("config.yaml\nmetrics.json\n")
    assert workshop.run("salun").out == f"already done: {folder}\n"
