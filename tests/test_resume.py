"""Stopping anywhere and going on: the engine on a tiny network, against a run that was left alone."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SpyEngine, Step, folder, make_run, outcome
from torch import Tensor

from method.training import resume
from utils.errors import RunError
from utils.signals import Interrupted, stop_signals_noted


@pytest.fixture(autouse=True)
def _saved_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine at hand takes for it."""
    monkeypatch.setattr(resume, "QUICK_SECONDS", 600)


class StoppedEngine(SpyEngine):
    """Ended at once before its step number `stop`, as by a second Ctrl-C or a power cut."""

    stop = 0

    def _step(self, *arguments: Any) -> Tensor:
        if len(self.spied_steps) == self.stop:
            raise KeyboardInterrupt
        return super()._step(*arguments)


class AskedEngine(SpyEngine):
    """Sent `signal` in its third step of an epoch's phases."""

    signal = signal.SIGTERM

    def _step(self, *arguments: Any) -> Tensor:
        if self.spied_epoch >= 0 and len(in_epochs(self.spied_steps)) == 2:
            os.kill(os.getpid(), self.signal)
        return super()._step(*arguments)


def in_epochs(steps: list[Step]) -> list[Step]:
    """Without those before the first epoch, which are done again in one piece."""
    return [step for step in steps if step.epoch >= 0]


RESUMED: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrain": ("pretrain", {}),
    "retrain": ("retrain", {"reweight": True}),
    "retrain, dro": ("retrain", {"rob_approach": "dro", "dro_step_size": 0.5}),
    "scrub, dro": ("scrub", {"scrub_rewind": True, "rob_approach": "dro", "dro_step_size": 0.5}),
    "salun, dro": ("salun", {"rob_approach": "dro", "dro_step_size": 0.5}),
    "miu, dro": ("miu", {"rob_approach": "dro", "dro_step_size": 0.5}),
    "pretrain, subsample": ("pretrain", {"rob_approach": "subsample"}),
    "miu": ("miu", {}),
    "miu, classifier": ("miu", {"miu_estimator": "classifier"}),
    "miu, reference": ("miu", {"preset": "reference"}),
    "salun": ("salun", {"salun_relabel": "other"}),
    "salun, reference": ("salun", {"preset": "reference"}),
    "scrub": ("scrub", {"scrub_rewind": True}),
    "l1_sparse": ("l1_sparse", {}),
    "rl": ("rl", {"rl_relabel": "other"}),
    "bad_teacher": ("bad_teacher", {}),
    "neggrad_plus": ("neggrad_plus", {"reweight": True}),
    "neggrad_plus, dro": ("neggrad_plus", {"rob_approach": "dro", "dro_step_size": 0.5}),
    "falw": ("falw", {"falw_relabel": "other"}),
    # Smaller batches, so that a pass over F has more steps than the tests stop after.
    "ga": ("ga", {"batch_size": 1}),
    "boundary_shrink": ("boundary_shrink", {"batch_size": 1}),
    "boundary_expand": ("boundary_expand", {"batch_size": 1}),
    "adam": ("l1_sparse", {"optimizer": "adam"}),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_stopped_anywhere_and_continued_is_bit_equal_to_an_uninterrupted_one(tmp_path: Path, name: str):
    method, flags = RESUMED[name]
    flags = {"epochs": 3, "scheduler": "cosine", "warmup_epochs": 1, "forget_epochs": 2, "augment": True} | flags
    flags = {k: v for k, v in flags.items() if not (k == "forget_epochs" and method not in ("miu", "scrub"))}
    whole = make_run(method, folder(tmp_path, "whole"), SpyEngine, **flags)
    whole.engine.train()
    ends = [sum(step.epoch <= epoch for step in whole.engine.spied_steps) for epoch in range(3)]
    # In the middle of epoch 0, before the first step of epoch 1, before the last step of all.
    for stop, saved in ((ends[0] // 2, 0), (ends[0], 1), (ends[2] - 1, 2)):
        place = folder(tmp_path, str(stop))
        run = make_run(method, place, StoppedEngine, **flags)
        run.engine.stop = stop
        with pytest.raises(KeyboardInterrupt):
            run.engine.train()
        assert (place / "last.pt").exists() == (saved > 0)
        continued = make_run(method, place, SpyEngine, **flags)
        continued.engine.train()
        assert {step.epoch for step in continued.engine.spied_steps} - {-1} == set(range(saved, 3))
        assert outcome(continued) == outcome(whole)


def test_a_state_that_takes_long_to_save_is_saved_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After the first epoch and the last; a killed run repeats those between, and nobody is told of them twice."""
    monkeypatch.setattr("method.training.resume.QUICK_SECONDS", 1e-9)
    monkeypatch.setattr("method.training.resume.SAVING_SHARE", 0)
    whole = make_run("l1_sparse", folder(tmp_path, "whole"), SpyEngine, epochs=4)
    whole.engine.train()
    ends = [sum(step.epoch <= epoch for step in whole.engine.spied_steps) for epoch in range(4)]
    place, told = folder(tmp_path, "killed"), []
    run = make_run("l1_sparse", place, StoppedEngine, epochs=4)
    run.engine.stop, run.engine.on_epoch = ends[3] - 1, told.append
    with pytest.raises(KeyboardInterrupt):
        run.engine.train()
    assert len((place / "history.csv").read_text().splitlines()) == 1 + 3
    assert [row["epoch"] for row in told] == [0]
    told.clear()
    continued = make_run("l1_sparse", place, SpyEngine, epochs=4)
    continued.engine.on_epoch = told.append
    continued.engine.train()
    assert {step.epoch for step in continued.engine.spied_steps} == {1, 2, 3}
    assert [row["epoch"] for row in told] == [0, 1, 2, 3]
    assert len(torch.load(place / "last.pt", weights_only=True)["history"]) == 4
    assert outcome(continued) == outcome(whole)


@pytest.mark.parametrize("name", RESUMED)
def test_a_signal_stops_after_the_step_and_the_rest_is_bit_equal(tmp_path: Path, name: str):
    """Stopped after every third step, whatever its phase: no step is done twice, none is left out."""
    method, flags = RESUMED[name]
    whole = make_run(method, folder(tmp_path, "whole"), SpyEngine, augment=True, **flags)
    whole.engine.train()
    place, steps, stopped = folder(tmp_path, "stopped"), [], True
    while stopped:
        run = make_run(method, place, AskedEngine, augment=True, **flags)
        run.engine.signal = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)[len(steps) % 2]
        try:
            with stop_signals_noted():
                run.engine.train()
            stopped = False
        except Interrupted:
            assert len(in_epochs(run.engine.spied_steps)) == 3
        steps += in_epochs(run.engine.spied_steps)
    expected = in_epochs(whole.engine.spied_steps)
    assert [(one.phase.name, one.batch.index.tolist()) for one in steps] == [
        (one.phase.name, one.batch.index.tolist()) for one in expected
    ]
    assert outcome(run) == outcome(whole)


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("every, done", [(0, 0), (1, 4), (3, 3)])
def test_killed_in_mid_epoch_a_run_goes_on_from_the_last_saved_step(tmp_path: Path, name: str, every: int, done: int):
    method, flags = RESUMED[name]
    flags = {"augment": True, "save_every": every, "batch_size": 2, "miu_critic_steps_first": 8} | flags
    flags = {k: v for k, v in flags.items() if method == "miu" or not k.startswith("miu")}
    whole = make_run(method, folder(tmp_path, "whole"), SpyEngine, **flags)
    whole.engine.train()
    run = make_run(method, tmp_path, StoppedEngine, **flags)
    steps = whole.engine.spied_steps
    run.engine.stop = len(steps) - len(in_epochs(steps)) + 4  # in the first phase of the first epoch
    with pytest.raises(KeyboardInterrupt):
        run.engine.train()
    continued = make_run(method, tmp_path, SpyEngine, **flags)
    continued.engine.train()
    assert len(in_epochs(continued.engine.spied_steps)) == len(in_epochs(steps)) - done
    assert outcome(continued) == outcome(whole)


def test_a_signal_while_an_epoch_is_measured_loses_none_of_it(tmp_path: Path):
    whole = make_run("retrain", folder(tmp_path, "whole"), SpyEngine)
    whole.engine.train()
    run = make_run("retrain", tmp_path, SpyEngine)
    measure = run.unlearner.measure

    def asked(name: str) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return measure(name)

    run.unlearner.measure = asked
    with stop_signals_noted(), pytest.raises(Interrupted, match="SIGUSR1"):
        run.engine.train()
    continued = make_run("retrain", tmp_path, SpyEngine)
    continued.engine.train()
    assert {step.epoch for step in continued.engine.spied_steps} == {1}
    assert outcome(continued) == outcome(whole)


def test_a_finished_state_runs_no_step_again(tmp_path: Path):
    run = make_run("scrub", tmp_path, SpyEngine, scrub_rewind=True)
    run.engine.train()
    again = make_run("scrub", tmp_path, SpyEngine, scrub_rewind=True)
    again.engine.train()
    assert again.engine.spied_steps == []
    assert outcome(again) == outcome(run)


# Weights that are kept from an epoch on: files beside last.pt.


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Name and bytes of every file that a state is saved in, in order."""
    found = []

    def save(path: Path, content: dict[str, Any], run: dict[str, Any]) -> None:
        save_sealed(path, content, run)
        found.append((path.name, path.stat().st_size))

    save_sealed = resume.save_sealed
    monkeypatch.setattr(resume, "save_sealed", save)
    return found


def rewinding(place: Path, kind: type[SpyEngine] = SpyEngine, **flags: Any) -> Any:
    return make_run("scrub", place, kind, **{"epochs": 6, "forget_epochs": 2, "scrub_rewind": True} | flags)


def test_what_is_kept_is_written_once_and_last_pt_does_not_grow_with_it(tmp_path: Path, sizes: list[tuple[str, int]]):
    run = rewinding(tmp_path, save_every=1)
    run.engine.train()
    kept = [(name, size) for name, size in sizes if name != "last.pt"]
    assert [name for name, _ in kept] == [f"last_after_{n}.pt" for n in range(7)]
    states = [size for name, size in sizes if name == "last.pt"]
    assert len(states) > 30
    assert states[-1] - states[0] < 6 * min(size for _, size in kept) / 2  # a row of the history an epoch, no weights
    # Only what is read back counts: the first has theta0, the last the weights at the end.
    ends = {name: torch.load(tmp_path / name, weights_only=True)["head.bias"].tolist() for name, _ in kept}
    assert ends["last_after_6.pt"] == run.unlearner.other_weights()["without_rewind"]["head.bias"].tolist()
    assert ends["last_after_0.pt"] == run.original.module.head.bias.tolist()


def half_rewound(whole: Any, place: Path) -> Path:
    """A folder in which a run was ended in its fifth epoch."""
    run = rewinding(place, StoppedEngine)
    run.engine.stop = sum(step.epoch < 4 for step in whole.engine.spied_steps) + 1
    with pytest.raises(KeyboardInterrupt):
        run.engine.train()
    return place


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    run = rewinding(folder(tmp_path, "whole"))
    run.engine.train()
    return run


def test_a_continued_run_writes_only_what_it_has_not(tmp_path: Path, whole: Any, sizes: list[tuple[str, int]]):
    place = half_rewound(whole, folder(tmp_path, "half"))
    assert {file.name for file in place.glob("last_*")} == {f"last_after_{n}.pt" for n in range(5)}
    # As where a run is killed after it wrote one, before last.pt names it: it does not count, and is made again.
    (place / "last_after_5.pt").write_bytes(b"of a killed run")
    sizes.clear()
    continued = rewinding(place)
    continued.engine.train()
    assert [name for name, _ in sizes if name != "last.pt"] == ["last_after_5.pt", "last_after_6.pt"]
    assert outcome(continued) == outcome(whole)


def test_a_state_of_an_earlier_version_with_all_weights_in_one_file_goes_on(tmp_path: Path, whole: Any):
    place = half_rewound(whole, folder(tmp_path, "half"))
    state = torch.load(place / "last.pt", weights_only=True)
    del state["kept"]
    for one in state["unlearner"]["epochs"]:
        file = place / f"last_{one['weights']}.pt"
        one["weights"] = torch.load(file, weights_only=True)
        file.unlink()
    torch.save(state, place / "last.pt")
    continued = rewinding(place)
    continued.engine.train()
    assert {step.epoch for step in continued.engine.spied_steps} == {4, 5}
    assert {file.name for file in place.glob("last_*")} == {f"last_after_{n}.pt" for n in range(7)}
    assert outcome(continued) == outcome(whole)


def test_a_kept_file_that_is_not_the_one_that_was_written_is_refused(tmp_path: Path, whole: Any):
    place = half_rewound(whole, folder(tmp_path, "half"))
    file, other = place / "last_after_2.pt", place / "last_after_3.pt"
    content = file.read_bytes()
    for wrong in (None, b"", content[:-1], content + b"0", other.read_bytes()):
        file.unlink() if wrong is None else file.write_bytes(wrong)
        with pytest.raises(RunError, match=r"last_after_2\.pt is damaged, or .*--overwrite starts the run anew"):
            rewinding(place).engine.train()
    file.write_bytes(content)
    continued = rewinding(place)
    continued.engine.train()
    assert outcome(continued) == outcome(whole)
