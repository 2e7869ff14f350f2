"""scripts/accept_gpu.sh: what is sound passes, a planted defect in any part makes that part fail."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli import ROOT
from torch import Tensor, nn

from datasets.images.cache import ImageCache
from datasets.loading.loaders import Loader
from method.training.batches import Batches
from method.training.inference import Inference
from method.training.original import Original
from method.training.resume import Resumable
from method.unlearners.base import Phase
from method.unlearners.ft import FineTuning
from method.unlearners.salun import SalUn
from method.unlearners.scrub import SCRUB
from scripts.acceptance import (
    batches,
    continuing,
    correctness,
    fetching,
    harness,
    memory,
    processes,
    recording,
    report,
    speed,
    suite,
    waiting,
    whole_job,
    worker,
)
from scripts.acceptance import pack as packing
from scripts.acceptance.__main__ import main, options_of, run_parts
from scripts.acceptance.harness import CPU, Place
from scripts.acceptance.options import FULL, PARTS, QUICK, SHORT, Options, Part
from scripts.acceptance.rows import FAIL, FIGURE, PASS, SKIPPED, Row, guarded, line, reason, told_by
from scripts.acceptance.running import run_part
from utils import device as devices
from utils.errors import UserError

HERE = Place()
LOOK = Options("cpu", QUICK)
Patch = pytest.MonkeyPatch


def only(monkeypatch: Patch, module: Any, *names: str) -> None:
    """Leave these variants alone in a part."""
    every = module.variants()
    monkeypatch.setattr(module, "variants", lambda: {name: every[name] for name in names})


def around(monkeypatch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Replace owner.name by what `change` makes of its result and its arguments."""
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given, **named: change(real(*given, **named), *given))


def by_the_device() -> bool:
    """Whether what runs now is not the CPU's side, which is computed without oneDNN."""
    return torch._C._get_mkldnn_enabled()


def statuses(rows: Iterator[Row]) -> list[str]:
    return [row.status for row in rows]


# Correctness.


def test_sound_methods_agree(monkeypatch: Patch):
    only(monkeypatch, correctness, "ft", "miu", "retrain, REWEIGHT", "neggrad_plus", "falw")
    assert statuses(correctness.steps_agree(HERE)) == [PASS] * 5
    assert statuses(correctness.bf16_agrees(HERE)) == [PASS] * 5
    assert statuses(correctness.inputs_agree(HERE)) == [PASS] * 5
    assert statuses(correctness.draws_agree(HERE)) == [PASS] * 2
    for row in (correctness.saliency_is_right(HERE), correctness.frozen_stay(HERE), correctness.rewind_agrees(HERE)):
        assert row.status == PASS, row
    assert fetching.states_come_whole(CPU).status == PASS


def break_at(monkeypatch: Patch, owner: Any, name: str) -> None:
    """owner.name raises."""

    def raise_error(*_: Any, **__: Any) -> None:
        raise ValueError("planted\nmore of it")

    monkeypatch.setattr(owner, name, raise_error)


@pytest.mark.parametrize(
    "module, check",
    [
        (correctness, lambda: correctness.steps_agree(HERE)),
        (correctness, lambda: correctness.inputs_agree(HERE)),
        (correctness, lambda: correctness.bf16_agrees(HERE)),
        (continuing, lambda: continuing.rows(HERE, LOOK)),
        (waiting, lambda: (row for row in waiting.rows(LOOK) if row.name.startswith(("ft: w", "ga: w")))),
        (memory, lambda: memory.rows(HERE, Options("cpu", FULL))),
    ],
)
def test_a_method_that_breaks_does_not_end_a_part(
    monkeypatch: Patch, capsys: pytest.CaptureFixture, module: Any, check: Callable[[], Iterator[Row]]
):
    only(monkeypatch, module, "ft", "ga")
    monkeypatch.setattr(waiting, "waits_from_files", lambda name, place: Row(name, PASS))
    monkeypatch.setattr(memory, "METHODS", ())
    break_at(monkeypatch, FineTuning, "fit")
    rows = [row for row in check() if row.status != SKIPPED]
    told = {name: [row for row in rows if row.name.startswith(f"{name}: ")] for name in ("ft", "ga")}
    assert {(row.status, row.value, row.detail) for row in told["ft"]} == {(FAIL, "ValueError", "planted")}
    assert {row.status for row in told["ga"]} == {PASS}
    assert len(told["ft"]) == len(told["ga"]) >= 1
    assert "in raise_error" in capsys.readouterr().err  # the log says where


def test_a_check_that_breaks_does_not_end_a_part(monkeypatch: Patch):
    for name in ("steps_agree", "inputs_agree", "bf16_agrees"):
        monkeypatch.setattr(correctness, name, lambda place: iter(()))
    monkeypatch.setattr(correctness.continuing, "rows", lambda place, options: iter(()))
    checks = ("saliency_is_right", "frozen_stay", "rewind_agrees", "draws_agree")
    for name in checks:
        break_at(monkeypatch, correctness, name)
    break_at(monkeypatch, fetching.devices, "fetch")
    break_at(monkeypatch, batches, "make_fairface")
    monkeypatch.setattr(correctness, "compiled_agrees", lambda place, options: iter([Row("the last", PASS)]))
    *rows, last = correctness.rows(LOOK)
    assert [(row.status, row.value) for row in rows] == [(FAIL, "ValueError")] * 6
    assert last.name == "the last"


def test_a_setting_that_breaks_does_not_end_the_speeds(monkeypatch: Patch):
    monkeypatch.setattr(speed, "QUICK", (speed.Setting("small_cnn", 32, 8, 4, 16, repetitions=1),) * 2)
    monkeypatch.setattr(speed, "QUICK_LIMIT", 1000.0)
    break_at(monkeypatch, speed, "run_engine")
    rows = list(speed.rows(LOOK))
    assert [row.value for row in rows if row.status == FAIL] == ["ValueError"] * 2
    assert any(row.name.endswith("evaluation") and row.status == FIGURE for row in rows)


def test_a_step_that_differs_on_the_device_fails(monkeypatch: Patch):
    only(monkeypatch, correctness, "ft", "ga")
    around(monkeypatch, FineTuning, "fit", lambda loss, *_: loss * 1.01 if by_the_device() else loss)
    ft, ga = correctness.steps_agree(HERE)
    assert (ft.status, ga.status) == (FAIL, PASS)
    assert ft.name.startswith("ft: ")


def test_a_difference_of_weights_is_seen_whatever_its_kind():
    one, nan = {"a": torch.zeros(3)}, {"a": torch.tensor([0.0, torch.nan, 0.0])}
    assert recording.apart(one, {"a": torch.full((3,), 0.5)}) == 0.5
    assert recording.apart(nan, nan) == 0
    assert recording.apart(one, nan) == recording.apart(one, {"b": one["a"]}) == torch.inf
    assert recording.not_nan(torch.nan) == torch.inf


@pytest.mark.parametrize(
    "spoil, seen",
    [
        (
            lambda state: state["dict"].update({"channels-last": state["dict"]["channels-last"].contiguous()}),
            "channels",
        ),
        (lambda state: state["list"][1].add_(1), "list/1"),
        (lambda state: state["list"][0].logical_not_(), "list/0"),
        (lambda state: state["dict"]["NaN and infinity"].abs_(), "dict/NaN"),
        (lambda state: state["list"][2].clear(), "list/2/empty"),
        (lambda state: state.update(tuple=state["tuple"][:1]), "tuple/1"),
        (lambda state: state.update(late=state["late"].to(torch.bfloat16)), "late"),
    ],
)
def test_a_state_that_is_fetched_otherwise_fails(monkeypatch: Patch, spoil: Callable, seen: str):
    def fetched_badly(state: dict[str, Any]) -> dict[str, Any]:
        fetched = copy.deepcopy(state)
        spoil(fetched)
        return fetched

    monkeypatch.setattr(fetching.devices, "fetch", fetched_badly)
    row = fetching.states_come_whole(CPU)
    assert row.status == FAIL
    assert f": {seen}" in row.value or f"/{seen}" in row.value


def test_a_state_that_is_read_before_it_is_there_fails(monkeypatch: Patch):
    """A copy that goes on after `fetch` has come back, played: it is there by the time of the next wait."""
    late: list[Tensor] = []

    def fetched_late(state: dict[str, Any]) -> dict[str, Any]:
        late.append(torch.zeros_like(state["late"]))
        return state | {"late": late[0]}

    def wait(tensor: Tensor) -> Tensor:
        late[0].copy_(tensor if tensor.shape == late[0].shape else late[0])
        return tensor

    monkeypatch.setattr(fetching.devices, "fetch", fetched_late)
    monkeypatch.setattr(Tensor, "cpu", wait)
    row = fetching.states_come_whole(CPU)
    assert (row.status, row.value.rpartition(": ")[2]) == (FAIL, "late")


def test_a_card_without_bf16_is_not_asked_for_it(monkeypatch: Patch):
    monkeypatch.setattr(correctness.gpu, "is_gpu", lambda device: True)
    monkeypatch.setattr(correctness.devices, "choose_precision", lambda name, device: torch.float32)
    (row,) = correctness.bf16_agrees(HERE)
    assert row.status == SKIPPED
    assert "does not compute bf16" in row.detail
    monkeypatch.setattr(correctness.devices, "choose_precision", lambda name, device: torch.bfloat16)
    only(monkeypatch, correctness, "ft")
    assert statuses(correctness.bf16_agrees(HERE)) == [PASS]


def test_a_loss_that_bf16_spoils_fails(monkeypatch: Patch):
    only(monkeypatch, correctness, "ft")
    around(monkeypatch, FineTuning, "fit", lambda loss, *_: loss * (1.2 if torch.is_autocast_enabled("cpu") else 1))
    assert statuses(correctness.bf16_agrees(HERE)) == [FAIL]


def test_a_compiled_network_that_computes_something_else_fails(monkeypatch: Patch):
    def compile_badly(layers: nn.Sequential) -> None:
        layers[0].weight.data.mul_(1.01)

    monkeypatch.setattr(nn.Sequential, "compile", compile_badly)
    monkeypatch.setattr("utils.device.check_compiler", lambda device: None)
    monkeypatch.setattr(correctness, "QUICK_COMPILED", ("ft",))
    assert statuses(correctness.compiled_agrees(HERE, LOOK)) == [FAIL, FAIL]


def test_a_compiler_that_does_nothing_fails(monkeypatch: Patch):
    monkeypatch.setattr(nn.Sequential, "compile", lambda layers: None)
    monkeypatch.setattr("utils.device.check_compiler", lambda device: None)
    monkeypatch.setattr(correctness, "QUICK_COMPILED", ("ft",))
    same, at_work = correctness.compiled_agrees(HERE, LOOK)
    assert (same.status, at_work.status, at_work.value) == (PASS, FAIL, "0 graphs")


def test_without_a_compiler_the_reason_is_told(monkeypatch: Patch):
    def refuse(device: torch.device) -> None:
        raise UserError("--compile needs a compiler; leave it out")

    monkeypatch.setattr("utils.device.check_compiler", refuse)
    (row,) = correctness.compiled_agrees(HERE, LOOK)
    assert (row.status, row.detail) == (SKIPPED, "--compile needs a compiler; leave it out")


def spoil_image(image: Tensor) -> Tensor:
    return image + (2 / 255) * by_the_device()


def turned(order: np.ndarray, phase: Phase) -> np.ndarray:
    """The order of F from its end."""
    return order[::-1].copy() if phase.data == "forget" and by_the_device() else order


@pytest.mark.parametrize(
    "owner, name, change, seen, variant",
    [
        (Inference, "image", lambda image, *_: spoil_image(image), "image of step 0", "ft"),
        (Batches, "_order", lambda order, *_: order[::-1].copy() if by_the_device() else order, "index", "ft"),
        (Batches, "_drawn", lambda drawn, *_: drawn.flip(0) if by_the_device() else drawn, "drawn of step 0", "rl"),
        (Batches, "_order", lambda order, _, phase, *__: turned(order, phase), "beside.index", "neggrad_plus"),
    ],
)
def test_a_changed_batch_fails(monkeypatch: Patch, owner: Any, name: str, change: Callable, seen: str, variant: str):
    only(monkeypatch, correctness, "ft", "rl", "neggrad_plus")
    around(monkeypatch, owner, name, change)
    failed = [row for row in correctness.inputs_agree(HERE) if row.status == FAIL]
    assert any(row.name == f"{variant}: what steps see" and seen in row.value for row in failed)


def test_other_draws_and_other_splits_fail(monkeypatch: Patch):
    around(monkeypatch, Batches, "_order", lambda order, *_: np.roll(order, 1) if by_the_device() else order)
    assert statuses(correctness.draws_agree(HERE)) == [PASS, FAIL]
    around(monkeypatch, harness, "make_splits", lambda splits, *_: replace(splits, val=splits.val[by_the_device() :]))
    assert statuses(correctness.draws_agree(HERE)) == [FAIL, FAIL]


def test_a_wrong_mask_fails(monkeypatch: Patch):
    around(monkeypatch, sys.modules[SalUn.__module__], "most_salient", lambda masks, *_: [~mask for mask in masks])
    row = correctness.saliency_is_right(HERE)
    assert row.status == FAIL
    assert not row.value.startswith("0 wrong")


def test_frozen_weights_that_move_fail(monkeypatch: Patch):
    monkeypatch.setattr(SalUn, "after_step", lambda self, phase: None)  # weight decay moves them
    assert correctness.frozen_stay(HERE).status == FAIL


def test_another_epoch_to_rewind_to_fails(monkeypatch: Patch):
    def rewind_to_the_first(_: None, scrub: SCRUB) -> None:
        if by_the_device():
            scrub.chosen = scrub.epochs[0]
            scrub.model.load_state_dict(scrub.kept[scrub.chosen["weights"]])

    around(monkeypatch, SCRUB, "finish", rewind_to_the_first)
    assert correctness.rewind_agrees(HERE).status == FAIL


def test_a_state_that_is_not_all_taken_back_fails(monkeypatch: Patch):
    assert continuing.continued("miu", HERE).status == PASS
    real = Resumable._restore

    def without_momentum(self: Resumable, state: dict[str, Any]) -> Any:
        self.optimizers = {}
        return real(self, state)

    monkeypatch.setattr(Resumable, "_restore", without_momentum)
    row = continuing.continued("ft", HERE)
    assert row.status == FAIL
    assert "weights" in row.value


def test_runs_that_the_system_kills_are_compared(monkeypatch: Patch):
    for place, told in (("mid-epoch", PASS), (None, FAIL)):
        monkeypatch.setattr(continuing, "run_alone", lambda *_: (1.0, 2.0))
        monkeypatch.setattr(continuing, "run_killed", lambda *_, place=place: [place] if place else [])
        monkeypatch.setattr(continuing, "differences", lambda *_: [])
        assert statuses(continuing.killed(("pretrain",), CPU)) == [told]  # a run that nobody killed shows nothing
    monkeypatch.setattr(continuing, "run_killed", lambda *_: ["before"])
    monkeypatch.setattr(continuing, "differences", lambda *_: ["model.pt"])
    assert statuses(continuing.killed(("pretrain",), CPU)) == [FAIL]


def test_a_cache_that_gives_other_pixels_fails(monkeypatch: Patch):
    def brighter(image: Tensor | None, *_: Any) -> Tensor | None:
        return image if image is None else image.clip(max=250) + 5

    around(monkeypatch, ImageCache, "image", brighter)
    monkeypatch.setattr(batches, "CACHES", ("none", "disk"))
    rows = list(batches.rows(CPU, LOOK))
    assert {row.status for row in rows if "disk" in row.name} == {FAIL}
    assert {row.status for row in rows if "disk" not in row.name} == {PASS}
    assert len(rows) == 4


# Waiting and memory.


def test_sound_methods_neither_wait_nor_grow():
    assert waiting.waits("miu", "miu", HERE).status == PASS
    assert waiting.further_waits("miu", "miu", HERE).status == PASS
    assert waiting.waits_from_files("files", HERE).status == PASS
    assert memory.growth("boundary_expand", "boundary_expand", HERE).status == PASS


@pytest.mark.parametrize(
    "wait, seen",
    [
        (lambda loss: loss.item(), "_local_scalar_dense"),
        (lambda loss: bool(loss > 0), "_local_scalar_dense"),
        (lambda loss: torch.ones(2)[torch.ones(2) > 0], "index at"),
        (lambda loss: torch.ones(2).nonzero(), "nonzero"),
        (lambda loss: torch.tensor([1.0], device=loss.device), "tensor at"),
    ],
)
def test_a_wait_in_a_step_fails(monkeypatch: Patch, wait: Callable[[Tensor], Any], seen: str):
    around(monkeypatch, FineTuning, "fit", lambda loss, *_: (wait(loss), loss)[1])
    row = waiting.waits("ft", "ft", HERE)
    assert row.status == FAIL
    assert seen in row.value
    assert "method/training/engine.py:" in row.value


def test_a_wait_that_only_the_profiler_sees_fails(monkeypatch: Patch):
    around(monkeypatch, FineTuning, "fit", lambda loss, *_: (loss.item(), loss)[1])
    monkeypatch.setattr(waiting, "READING", set())
    assert waiting.waits("ft", "ft", HERE).value.startswith("none")
    assert waiting.further_waits("ft", "ft", HERE).status == FAIL


@pytest.mark.parametrize(
    "counts, told", [((3, 3), PASS), ((3, 400), FAIL), ((400, 3), FAIL), ((None, 3), SKIPPED), ((3, None), SKIPPED)]
)
def test_the_profilers_count_is_a_verdict_of_its_own(monkeypatch: Patch, counts: tuple, told: str):
    left, runs = list(counts), []
    monkeypatch.setattr(waiting.gpu, "waits_in", lambda calls, device: left.pop(0))
    around(monkeypatch, waiting, "in_batches_of", lambda flags, size: (runs.append(size), flags)[1])
    row = waiting.further_waits("ft", "ft", HERE)
    assert row.status == told
    assert row.value or "the profiler saw nothing" in row.detail
    assert runs == [16, 4, 16, 4]  # both sizes once before they are counted


def test_a_wait_for_the_originals_outputs_of_augmented_images_fails(monkeypatch: Patch):
    def read(logits: Tensor, original: Original, batch: Any) -> Tensor:
        return logits + 0 * logits.sum().item() if batch.augmented else logits

    around(monkeypatch, Original, "logits", read)
    row = waiting.waits("scrub", "scrub", HERE)
    assert row.status == FAIL
    assert "_local_scalar_dense" in row.value


def test_a_wait_in_sending_what_workers_read_fails(monkeypatch: Patch):
    reading: list[int] = []
    around(monkeypatch, Loader, "_pool_of", lambda pool, loader, n: (reading.append(n), pool)[1])
    around(monkeypatch, Inference, "image", lambda image, *_: image + 0 * image.sum().item())
    row = waiting.waits_from_files("files", HERE)
    assert row.status == FAIL
    assert waiting.WORKERS in reading


def test_waits_of_a_card_are_errors_and_then_places(monkeypatch: Patch):
    """What torch does on CUDA, played: an error in the first run, a warning at every wait in the second."""
    modes: list[str] = []

    @contextlib.contextmanager
    def waits_are(mode: str) -> Iterator[None]:
        modes.append(mode)
        yield
        modes.append("default")

    def wait(loss: Tensor, *_: Any) -> Tensor:
        if modes and modes[-1] == "error":
            raise RuntimeError(waiting.CALLED)
        if modes and modes[-1] == "warn":
            warnings.warn(waiting.CALLED, stacklevel=1)
            warnings.warn("of something else", stacklevel=1)
        return loss

    monkeypatch.setattr(waiting.gpu, "is_gpu", lambda device: True)
    monkeypatch.setattr(waiting.gpu, "waits_are", waits_are)
    assert waiting.waits("ga", "ga", HERE).status == PASS
    assert set(modes) == {"error", "default"}
    around(monkeypatch, FineTuning, "fit", wait)
    with pytest.warns(UserWarning, match="of something else"):
        row = waiting.waits("ft", "ft", HERE)
    assert row.status == FAIL
    assert row.value.startswith("24 x method/training/engine.py:")


@pytest.mark.skipif(not waiting.gpu.measures_memory(CPU), reason="this system does not say how much memory is used")
@pytest.mark.parametrize("kept", [lambda loss: loss.detach(), lambda loss: b"x" * 300_000])
def test_a_leak_fails(monkeypatch: Patch, kept: Callable[[Tensor], Any]):
    leak: list[Any] = []
    around(monkeypatch, FineTuning, "fit", lambda loss, *_: (leak.append(kept(loss)), loss)[1])
    assert memory.growth("ft", "ft", HERE).status == FAIL


def test_too_few_steps_show_nothing(monkeypatch: Patch):
    monkeypatch.setitem(memory.LONG_STEPS, "batch_size", 16)
    row = memory.growth("ft", "ft", HERE)
    assert row.status == FAIL
    assert "retain has" in row.value


def test_the_peak_is_that_of_steps_and_may_be_too_much(monkeypatch: Patch):
    """What a card counts, played: a batch of the evaluation takes 4 GiB, a step 1; batches of 16 do not fit."""
    peaks = [0]

    def step(loss: Tensor, unlearner: Any, batch: Any) -> Tensor:
        peaks[0] = max(peaks[0], 2**30)
        if len(batch.target) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    around(monkeypatch, Inference, "apply", lambda table, *_: (peaks.__setitem__(0, 4 * 2**30), table)[1])
    for name in ("diverge", "preserve"):
        around(monkeypatch, SCRUB, name, step)
    monkeypatch.setattr(memory, "METHODS", ("scrub",))
    monkeypatch.setattr(memory, "PEAK_BATCHES", (8, 16))
    monkeypatch.setattr(memory, "PEAK_SIZE", 32)
    monkeypatch.setattr(memory, "PEAK_COUNTS", (4, 4, 4, 20, 4, 16))
    monkeypatch.setattr(memory.gpu, "is_gpu", lambda device: True)
    monkeypatch.setattr(memory.gpu, "free_memory", lambda: None)
    monkeypatch.setattr(memory.gpu, "reset_peak", lambda device: peaks.__setitem__(0, 0))
    monkeypatch.setattr(memory.devices, "peak_memory_bytes", lambda device: peaks[0])
    fits, does_not = memory.peaks(CPU, Options("cpu", SHORT))
    assert (fits.status, fits.value) == (FIGURE, "1.00 GiB")
    assert (does_not.status, does_not.value) == (FIGURE, "does not fit")


# The other parts.


@pytest.mark.slow
def test_a_failing_test_fails_by_name(tmp_path: Path):
    file = tmp_path / "test_planted.py"
    file.write_text("def test_good():\n    pass\n\n\ndef test_bad():\n    assert False\n")
    rows = list(suite.run_tests([str(file)]))
    assert [row.status for row in rows] == [FAIL, FIGURE, FAIL]
    assert rows[0].name.endswith("test_planted.py::test_bad")
    assert rows[2].value == "1 failed, 1 passed"
    assert statuses(suite.run_tests([str(tmp_path / "test_absent.py")])) == [FIGURE, FAIL]
    file.write_text("import nothing_of_this_name\n")
    rows = list(suite.run_tests([str(file)]))
    assert [row.status for row in rows] == [FAIL, FIGURE, FAIL]
    assert "test_planted.py" in rows[0].name


def test_a_failure_whose_name_begins_with_anothers_is_told(tmp_path: Path):
    file = tmp_path / "test_planted.py"
    file.write_text("def test_bad():\n    assert False\n\n\ndef test_bad_too():\n    assert False\n")
    rows = list(suite.run_tests([str(file)]))
    assert [row.name.rpartition("::")[2] for row in rows[:-2]] == ["test_bad", "test_bad_too"]
    assert rows[-1].value == "2 failed"


def test_without_its_packages_the_suite_is_no_pass(monkeypatch: Patch):
    monkeypatch.setitem(suite.NEEDED, "no_module_of_this_name", "some-package")
    (row,) = suite.rows(LOOK)
    assert row.status == SKIPPED
    assert row.detail.startswith("needs some-package")


def test_a_slow_engine_fails(monkeypatch: Patch):
    monkeypatch.setattr(speed, "run_engine", lambda *_: 100.0)
    setting = speed.Setting("small_cnn", 32, 8, 4, 16, repetitions=1)
    rows = list(speed.against_the_bare_loop(speed.Bench(setting, CPU), speed.QUICK_LIMIT))
    assert [row.status for row in rows] == [FIGURE, FIGURE, FIGURE, FAIL]


def test_a_pass_is_long_enough_and_its_images_fit():
    for setting in (*speed.SHORT, *speed.FULL):
        assert setting.steps_a_pass >= 40
        assert setting.repetitions >= 5
        assert speed.Noise(2, setting.size).pixels[0].nbytes * setting.rows == setting.image_bytes < 2 * 2**30


def test_a_card_that_is_too_small_for_the_bare_loop_is_no_failure(monkeypatch: Patch):
    def too_much(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    setting = speed.Setting("small_cnn", 32, 8, 4, 16, repetitions=1)
    with monkeypatch.context() as within:
        within.setattr(speed, "run_engine", too_much)
        rows = list(guarded("engine", lambda: speed.of_a_setting(setting, CPU, speed.QUICK_LIMIT)))
    assert (rows[-1].status, rows[-1].value) == (FAIL, "OutOfMemoryError")
    monkeypatch.setattr(speed, "run_bare_loop", too_much)
    (row,) = speed.of_a_setting(setting, CPU, speed.QUICK_LIMIT)
    assert (row.status, row.name) == (SKIPPED, f"{setting}: the engine")


def test_floats_that_take_too_much_of_a_card_are_left_out(monkeypatch: Patch):
    monkeypatch.setattr(speed, "MOST_FLOATS", 1)
    setting = speed.Setting("small_cnn", 32, 8, 4, 16, repetitions=1)
    rows = list(speed.against_the_bare_loop(speed.Bench(setting, CPU), 1000.0))
    assert [row.status for row in rows] == [SKIPPED, FIGURE, FIGURE, PASS]


def test_a_run_that_ends_badly_fails(tmp_path: Path):
    row = whole_job.timed("miu", ["--dataset", "digits", "--checkpoint_dir", str(tmp_path)], tmp_path)
    assert row.status == FAIL
    assert row.value.startswith("ended with 2 ")
    assert "there is none in" in row.detail


def of_a_process(value: float, loss: float = 1.0) -> dict[str, Any]:
    """What a process leaves."""
    return {"weights": {"model.a": torch.full((2,), value)}, "history": [{"epoch": 0, "loss": loss}]}


@pytest.mark.parametrize(
    "found, told",
    [
        ([(1.0, 1.0), (1.0, 1.0)], PASS),
        ([(1.00001, 1.0), (1.00001, 1.0)], PASS),
        ([(1.0, 1.0), (1.00001, 1.0)], FAIL),
        ([(1.0, 1.0), (1.0, 1.1)], FAIL),
        ([(1.01, 1.0), (1.01, 1.0)], FAIL),
        ([(1.0, 1.01), (1.0, 1.01)], FAIL),
        ([(1.0, torch.nan), (1.0, torch.nan)], FAIL),
    ],
)
def test_processes_that_differ_fail(found: list[tuple[float, float]], told: str):
    row = processes.compare_processes("miu", [of_a_process(*one) for one in found], of_a_process(1.0))
    assert row.status == told


def test_processes_go_on_without_a_method_that_breaks(monkeypatch: Patch):
    monkeypatch.setattr("scripts.acceptance.worker.variants", lambda: ("ft", "ga"))
    break_at(monkeypatch, FineTuning, "fit")
    words: list[str] = []

    def torchrun(n: int, given: list[str]) -> subprocess.CompletedProcess:
        words.extend(given)
        worker.main("cpu", Path(given[3]), *given[4:])
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(processes, "torchrun", torchrun)
    broken, others = processes.started(1, CPU, processes.everything(CPU))
    assert (broken.status, broken.name.split(":")[0], broken.value) == (FAIL, "ft", "ValueError: planted")
    assert others.status == PASS
    assert words[4:] == ["ft"]


def test_the_start_does_not_depend_on_the_number_of_threads(monkeypatch: Patch):
    monkeypatch.setattr("scripts.acceptance.worker.variants", lambda: ("ft",))
    monkeypatch.setattr("scripts.acceptance.worker.one", lambda variant, device: torch.get_num_threads())
    around(monkeypatch, harness, "tiny_network", lambda model: numbers.append(torch.get_num_threads()) or model)
    numbers: list[int] = []
    with devices.threads_set(2):
        assert processes.everything(CPU) == {"ft": 1}
        harness._trained.__wrapped__()
    assert numbers == [1]


def few_variants(monkeypatch: Patch, tmp_path: Path, defect: str) -> dict[str, Any]:
    """A worker of few variants with a defect, and what one process without it computes."""
    planted = (
        f"import sys\nfrom pathlib import Path\n\nimport torch\n\nfrom scripts.acceptance import worker\n{defect}\n"
    )
    planted += 'worker.variants = lambda: ("ft", "miu")\nworker.main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])\n'
    (tmp_path / "planted_worker.py").write_text(planted)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "WORKER", "planted_worker")
    monkeypatch.setattr("scripts.acceptance.worker.variants", lambda: ("ft", "miu"))
    return processes.everything(CPU)


@pytest.mark.slow
@pytest.mark.parametrize(
    "n, defect, told",
    [
        (2, "", [PASS, PASS]),
        (2, "from utils import collectives\ncollectives.dist.all_reduce = lambda values, *_, **__: None", [FAIL]),
        (
            2,
            "from method.training import engine\nengine.sum_gradients = lambda parameters, loss: loss",
            [FAIL, FAIL],
        ),
        (1, "", [PASS]),
        (1, "worker.FLAGS['lr'] = 0.03", [FAIL]),
        (1, "sys.exit(3)", [FAIL]),
    ],
)
def test_a_wrong_collective_fails(monkeypatch: Patch, tmp_path: Path, n: int, defect: str, told: list[str]):
    alone = few_variants(monkeypatch, tmp_path, defect)
    assert statuses(processes.started(n, CPU, alone)) == told


# Parts as processes, and the table.

PLANTED = """
import subprocess, sys, time
from pathlib import Path
from scripts.acceptance.rows import figure, verdict

def machine(options):
    yield figure("card", "none")

def good(options):
    print("a word for the log")
    yield verdict("sound", True, "1")

def late(options):
    yield verdict("first", True, "there in time")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(__file__).with_name("sleeper").write_text(str(sleeper.pid))
    time.sleep(60)
    yield verdict("never", True, "")

def broken(options):
    yield verdict("first", True, "there before")
    raise ValueError("some reason")

def gone(options):
    import os
    yield verdict("first", True, "there before")
    print("last words", flush=True)
    os._exit(7)

def silent(options):
    return iter(())
"""


def planted(name: str, seconds: int = 60) -> Part:
    return Part(name, f"planted_parts:{name}", "a test", dict.fromkeys((QUICK, SHORT, FULL), seconds))


@pytest.fixture
def plant(monkeypatch: Patch, tmp_path: Path) -> Options:
    """Where the planted parts can be imported; options with a folder of their own."""
    (tmp_path / "planted_parts.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "out").mkdir()
    return Options("cpu", QUICK, None, tmp_path / "out")


def test_a_part_beyond_its_time_fails_and_keeps_its_rows(plant: Options, tmp_path: Path):
    told: list[Row] = []
    rows, seconds = run_part(planted("late", 3), plant, told.append)
    assert [row.status for row in rows] == [PASS, FAIL]
    assert rows == told
    assert rows[1].value == "ended after 3 s, its time limit"
    assert 3 <= seconds < 20
    sleeper = int((tmp_path / "sleeper").read_text())
    for _ in range(50):  # it ended with the part; who cleans up after it takes a moment
        state = Path(f"/proc/{sleeper}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"process {sleeper} still sleeps")


@pytest.mark.parametrize(
    "name, value, detail",
    [
        ("broken", "ValueError", "some reason"),
        ("gone", "ended with 7", "last words"),
        ("silent", "gave no row", "its log is"),
    ],
)
def test_a_part_that_breaks_fails(plant: Options, name: str, value: str, detail: str):
    rows, _ = run_part(planted(name), plant, lambda row: None)
    assert [row.status for row in rows[:-1]] == [PASS] * (name != "silent")
    assert (rows[-1].status, rows[-1].value) == (FAIL, value)
    assert rows[-1].detail.startswith(detail)


def test_the_others_go_on_and_the_table_says_it_all(plant: Options, capsys: pytest.CaptureFixture):
    parts = tuple(planted(name) for name in ("machine", "broken", "good"))
    assert run_parts(parts, plant, [], "the command") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [text.split()[:2] for text in lines if not text.startswith("--")][:4] == [
        ["machine", FIGURE], ["broken", PASS], ["broken", FAIL], ["good", PASS],
    ]  # fmt: skip
    assert lines[-2].startswith("NOT accepted: 2 pass, 1 fail, 1 figure in")
    stored = json.loads((plant.out / "acceptance.json").read_text())
    assert (stored["accepted"], stored["machine"], stored["command"]) == (False, {"card": "none"}, "the command")
    assert [row["status"] for row in stored["parts"]["broken"]["rows"]] == [PASS, FAIL]
    page = (plant.out / "acceptance.md").read_text()
    assert page.startswith("# Not accepted\n")
    assert "| broken | fail   | the part itself | ValueError" in page
    assert (plant.out / "good.log").read_text() == "a word for the log\n"

    assert run_parts(parts[::2], plant, [], "the command") == 0
    assert "accepted on cpu: 1 pass, 1 figure" in capsys.readouterr().out
    assert run_parts(parts[:1], plant, [], "the command") == 1  # nothing passed


def test_without_its_device_nothing_else_runs(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["--device", "cuda:99", "--only", "waiting", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "--device cuda:99: this machine offers" in lines[0]
    assert lines[0].endswith("; a smoke of every part runs on the CPU by --device cpu --quick")
    assert "auto" not in lines[0]
    assert [text.split()[0] for text in lines] == ["machine", "--", "NOT", "the"]


def test_the_command_line_says_what_it_means(tmp_path: Path, capsys: pytest.CaptureFixture):
    options, names = options_of(["--full", "--only", "speed", "tests"])
    assert (options.device, options.scope, options.data_dir, names) == ("cuda", FULL, None, ["speed", "tests"])
    (tmp_path / "fairface").mkdir()
    assert Options.from_json(options_of(["--data_dir", str(tmp_path)])[0].as_json()).data_dir == tmp_path
    for bad in (["--only", "sped"], ["--quick", "--full"], ["--data_dir", str(tmp_path / "none")], ["--fast"]):
        with pytest.raises(SystemExit) as stopped:
            options_of(bad)
        assert stopped.value.code == 2
    capsys.readouterr()


def test_parts_are_there_and_short_where_nobody_asks_for_more():
    for part in PARTS:
        module, _, name = part.function.partition(":")
        assert callable(getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name))
    assert [part.name for part in PARTS if SHORT in part.limits] == [
        "machine", "tests", "correctness", "waiting", "speed",
    ]  # fmt: skip
    assert all({QUICK, FULL} <= part.limits.keys() for part in PARTS)


def test_the_reason_of_many_lines_is_the_one_that_names_it():
    torchrun = "Traceback\n  File x\nValueError: bad\nW1126 torch\n" + "=" * 60 + "\nmain.py FAILED\n" + "-" * 60 + "\n"
    assert reason(torchrun) == "ValueError: bad"
    assert reason("working\nerror: no such file\n") == "error: no such file"
    assert reason("one\n\nlast words\n") == "last words"
    assert reason("") == ""
    assert len(reason("x" * 1000)) == 300
    assert (
        told_by(RuntimeError("CUDA error: bad address\nCompile with TORCH_USE_CUDA_DSA")) == "CUDA error: bad address"
    )
    assert told_by(RuntimeError("inductor raised:\nImportError: no triton\n\nSet TORCHDYNAMO_VERBOSE=1")) == (
        "ImportError: no triton"
    )
    assert told_by(SystemExit("started\nlast words")) == "last words"
    assert told_by(ValueError()) == ""


def test_a_row_is_one_line():
    assert (
        line("speed", Row("engine", PASS, "1.05", "at most 1.05")) == "speed        pass     engine: 1.05; at most 1.05"
    )
    assert report.counted([Row("a", FAIL), Row("b", PASS), Row("c", PASS)]) == "2 pass, 1 fail"


# The scripts.


def script(name: str, *words: str, root: Path = ROOT, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """A script with the Python of these tests, as a person starts it."""
    known = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(root / "scripts" / name), *words]
    return subprocess.run(command, cwd=cwd, env=os.environ | known, capture_output=True, text=True, timeout=600)


def test_an_archive_that_is_too_large_is_refused(monkeypatch: Patch, tmp_path: Path, capsys: pytest.CaptureFixture):
    if not (ROOT / ".git").exists():
        pytest.skip("no git clone: what is packed is what git tracks")
    monkeypatch.setattr(packing, "MOST", 10**6)
    assert packing.main(["--out", str(tmp_path / "packed.tar.gz")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the archive would have ")
    assert "1.0 MB are the most: the project's files " in said
    assert not list(tmp_path.iterdir())
    assert packing.main(["--weights", str(tmp_path / "none.pt"), "--out", str(tmp_path / "packed.tar.gz")]) == 2
    assert "none.pt: no file to pack there" in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_packed_runs_where_it_is_unpacked(data_dir: Path, tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git clone: what is packed is what git tracks")
    (tmp_path / "model.pt").write_bytes(b"weights")
    words = ["--data_dir", str(data_dir), "--faces", "30", "--weights", "model.pt", "--out", "packed.tar.gz"]
    packed = script("pack_for_gpu.sh", *words, cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    size, there = packed.stdout.splitlines()
    assert "30 faces" in size
    assert "weights, model.pt" in size
    command = there.removeprefix("there: ")
    assert command.endswith("bash scripts/accept_gpu.sh --data_dir data")

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "packed.tar.gz").rename(tmp_path / "elsewhere/packed.tar.gz")
    done = subprocess.run(
        ["bash", "-c", f"{command} --quick --device cpu --only waiting"],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted on cpu: " in done.stdout
    root = tmp_path / "elsewhere/group-robust-unlearning"
    stored = json.loads((root / "output/accept/acceptance.json").read_text())
    assert len(stored["parts"]["waiting"]["rows"]) > 30
    assert stored["machine"]["commit"] == (root / "PACKED_COMMIT").read_text().strip()
    assert len(list((root / "data/fairface/train").iterdir())) == 23  # of one row there is none
    assert not any(file.is_symlink() for file in (root / "data").rglob("*"))


def test_a_python_with_the_packages_is_taken_and_nothing_installed(tmp_path: Path):
    """Of a copy without .venv, whose own would have to be made."""
    for name in ("_venv.sh", "_python.sh", "accept_gpu.sh"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy2(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    done = script("accept_gpu.sh", root=tmp_path, cwd=tmp_path)
    assert done.stdout == f"Python: {sys.executable}\n"
    assert "No module named scripts.acceptance" in done.stderr
    assert not (tmp_path / ".venv").exists()
