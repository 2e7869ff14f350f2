"""The baselines that relabel, ascend or are taught: their labels and teachers, with known answers."""

from pathlib import Path

import pytest
import torch
from cli import configuration, refused
from tiny import (
    N_TARGETS,
    Run,
    SpyEngine,
    TinyNet,
    batch_of,
    build,
    changed,
    make_run,
    parameters,
    snapshot,
    tiny_data,
    trained_network,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.losses import kl_to_teacher
from method.registry import ALIASES, METHODS, register
from method.runs.labels import label, rank
from method.runs.stored import StoredRun
from method.unlearners.bad_teacher import BadTeacher, build_untrained
from method.unlearners.base import Unlearner, initial_weights
from method.unlearners.boundary_expand import BoundaryExpand
from method.unlearners.boundary_shrink import BoundaryShrink
from method.unlearners.rl import RandomLabels
from method.unlearners.salun import SalUn
from models import build_model
from utils.seeding import torch_generator


def passes_of(folder: Path, method: str, **flags: float) -> Run:
    """A run in which every pass is seen."""
    run = make_run(method, folder, SpyEngine, unlearning_ratio=0.5, momentum=0.0, weight_decay=0.0, **flags)
    run.engine.train()
    return run


def outputs(state: dict[str, Tensor], rows) -> Tensor:
    """Logits in eval mode."""
    model = TinyNet()
    model.load_state_dict(state)
    with torch.no_grad():
        return model.eval()(tiny_data().images(rows))


# Random labels, gradient ascent, fine-tuning.


def test_salun_is_random_labels_with_a_mask(tmp_path: Path):
    """Where every weight may move, the two are one method, but for the seeds that bear their names."""
    assert issubclass(SalUn, RandomLabels)
    rows = list(range(20))
    for relabel in ("uniform", "other"):
        one, other = build(RandomLabels, relabel=relabel), build(SalUn, relabel=relabel, saliency_ratio=1.0)
        other.name = one.name
        batch = batch_of(rows, one.draw_labels, seed=3), batch_of(rows, other.draw_labels, seed=3)
        assert torch.equal(one.relabel(batch[0]), other.relabel(batch[1]))
        assert torch.equal(one.true_labels(batch[0]), other.true_labels(batch[1]))


def test_gradient_ascent_raises_the_loss_of_what_is_forgotten(tmp_path: Path):
    run = passes_of(tmp_path, "ga", lr=0.01, epochs=3)
    target = torch.tensor(tiny_data().target[run.splits.forget])
    states = [run.engine.passes[0].before["model"], *(spied.after["model"] for spied in run.engine.passes)]
    losses = [float(cross_entropy(outputs(state, run.splits.forget), target)) for state in states]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 0.1
    retained = set(run.splits.retain.tolist())
    assert not any(retained & set(step.batch.index.tolist()) for step in run.engine.spied_steps)


def test_fine_tuning_never_sees_what_is_forgotten(tmp_path: Path):
    run = passes_of(tmp_path, "ft")
    forgotten = set(run.splits.forget.tolist())
    assert not any(forgotten & set(step.batch.index.tolist()) for step in run.engine.spied_steps)


# Bad teacher.


def test_the_incompetent_teacher_is_random_frozen_and_a_function_of_the_seed():
    state = torch.get_rng_state()
    model = trained_network()
    first, again, other = (build(BadTeacher, facts={"seed": seed}).incompetent for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert changed(snapshot(first), snapshot(again)) == set()
    drawn = {"backbone.0.weight", "head.weight", "head.bias"}  # batch norm begins with ones and zeros
    assert drawn <= changed(snapshot(first), snapshot(other))
    # Neither the original nor what the run's own seed began with.
    assert parameters(model) | {"backbone.1.running_mean"} <= changed(snapshot(first), snapshot(model))
    assert drawn <= changed(snapshot(first), snapshot(TinyNet(0)))
    assert not first.training
    assert not any(weight.requires_grad for weight in first.parameters())
    assert not any(layer.training for layer in first.modules()), "batch norm by its own statistics"


def test_it_is_not_the_networks_own_beginning():
    network = build_model("small_cnn", 2, 0, "none")
    teacher = build_untrained(network, torch_generator(0, "teacher"))
    drawn = {name for name in parameters(network) if name.startswith("head") or network.state_dict()[name].dim() == 4}
    assert len(drawn) == 7
    assert drawn <= changed(snapshot(teacher), snapshot(network))
    image = torch.rand(6, 3, 32, 32)
    assert teacher(image).softmax(dim=1).std(dim=0).max() < 0.1  # it tells no image from another


def test_a_layer_that_cannot_be_drawn_anew_is_named():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match=r"1 \(Scale\) has weights, but no reset_parameters"):
        build_untrained(nn.Sequential(nn.Linear(2, 2), Scale()), torch_generator(0))


def test_every_pass_goes_to_its_teacher(tmp_path: Path):
    run = passes_of(tmp_path, "bad_teacher", lr=0.02, epochs=2)
    teachers = {"forget": run.unlearner.incompetent, "retain": trained_network()}
    for spied in run.engine.passes:
        rows = getattr(run.splits, spied.phase.data)
        with torch.no_grad():
            wanted = teachers[spied.phase.name](tiny_data().images(rows))
        before, after = (
            float(kl_to_teacher(outputs(state["model"], rows), wanted, 1.0)) for state in (spied.before, spied.after)
        )
        assert after < before
    assert [spied.phase.name for spied in run.engine.passes] == ["forget", "retain"] * 2
    assert changed(snapshot(run.unlearner.incompetent), snapshot(build(BadTeacher).incompetent)) == set()


def test_at_the_start_nothing_pulls_from_the_competent_teacher():
    unlearner = build(BadTeacher)
    unlearner.model.eval()
    assert float(unlearner.preserve(batch_of(range(20))).detach()) == pytest.approx(0, abs=1e-6)
    assert float(unlearner.unlearn(batch_of(range(20))).detach()) > 0.01


# Boundary shrink.


class ThreePixels(nn.Module):
    """Logits of three classes, linear in an image of one pixel of three channels."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = torch.tensor(weight)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.flatten(1))


@pytest.mark.parametrize(
    "pixels, target, epsilon, label",
    [
        # x = (0.4, 0.3, -0.2) of class 0: the gradient (p0 - 1, p1, p2) has the signs (-, +, +).
        ((0.4, 0.3, -0.2), 0, 0.1, 1),  # x' = (0.2, 0.5, 0.0)
        ((0.4, -0.2, 0.3), 0, 0.1, 2),  # x' = (0.2, 0.0, 0.5)
        ((0.9, -0.5, -0.4), 0, 0.1, 2),  # x' = (0.7, -0.3, -0.2) is of class 0 still: its runner-up
        ((0.2, 0.3, -0.2), 0, 0.1, 1),  # x is not of its own class: x' goes further from it
        ((1.0, 0.95, 0.96), 0, 0.5, 1),  # x' = (0, 1, 1): out of range without the clamp, where class 2 would win
    ],
)
def test_nearest_class_by_hand(pixels: tuple, target: int, epsilon: float, label: int):
    eye = ThreePixels([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    unlearner = build(BoundaryShrink, original=eye, epsilon=epsilon)
    image = torch.tensor(pixels).view(1, 3, 1, 1)
    batch = batch_of([0], image=image.clone(), target=torch.tensor([target]))
    assert unlearner.nearest_class(batch).tolist() == [label]
    assert torch.equal(batch.image, image)
    assert not batch.image.requires_grad


@pytest.mark.parametrize("epsilon, label", [(0.05, 1), (0.1, 2)])
def test_how_far_the_boundary_is_looked_for_decides(epsilon: float, label: int):
    """Class 2 rises three times as fast: x' = x + 2 epsilon (-1, 1, 1) gives (0.3, 0.4, 0.3) or (0.2, 0.5, 0.6)."""
    steep = ThreePixels([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 3.0]])
    unlearner = build(BoundaryShrink, original=steep, epsilon=epsilon)
    image = torch.tensor([0.4, 0.3, 0.0]).view(1, 3, 1, 1)
    assert unlearner.nearest_class(batch_of([0], image=image, target=torch.tensor([0]))).tolist() == [label]


def test_nearest_class_is_never_the_true_one_nor_touches_the_original():
    unlearner = build(BoundaryShrink, epsilon=0.01)
    batch = batch_of(range(60))
    labels = unlearner.nearest_class(batch)
    assert (labels != batch.target).all()
    assert len(labels.unique()) == N_TARGETS
    parts = [unlearner.nearest_class(batch_of(rows)) for rows in (range(7), range(7, 60))]
    assert torch.equal(torch.cat(parts), labels)  # whatever batch
    assert all(weight.grad is None for weight in unlearner.original.module.parameters())


def test_shrinking_moves_the_forget_set_to_its_nearest_class(tmp_path: Path):
    run = passes_of(tmp_path, "boundary_shrink", lr=0.05, epochs=6)
    rows = run.splits.forget
    labels = run.unlearner.nearest_class(batch_of(rows))
    before, after = (outputs(snapshot(model), rows) for model in (trained_network(), run.model))
    assert float(cross_entropy(after, labels)) < float(cross_entropy(before, labels)) - 0.5


# Boundary expand.


def test_the_extra_output_is_drawn_by_the_seed_and_no_part_of_the_network():
    state = torch.get_rng_state()
    model = trained_network()
    first, again, other = (build(BoundaryExpand, facts={"seed": seed}, model=model) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    extra = [one.expanded["extra"].weight for one in (first, again, other)]
    assert extra[0].shape == (1, 6)
    assert torch.equal(extra[0], extra[1])
    assert not torch.equal(extra[0], extra[2])
    assert changed(snapshot(model), snapshot(trained_network())) == set()
    assert set(first.modules()["model"].parameters()) == {*model.parameters(), *first.expanded["extra"].parameters()}


def test_expanding_gives_the_forget_set_to_the_extra_class(tmp_path: Path):
    run = passes_of(tmp_path, "boundary_expand", lr=0.05, epochs=30)
    image = tiny_data().images(run.splits.forget)
    run.model.eval()
    own, extra = run.model(image), run.unlearner.expanded["extra"](run.model.features(image))
    assert own.shape == (len(image), N_TARGETS)
    assert (extra[:, 0] > own.max(dim=1).values).all()
    assert list(run.model.state_dict()) == list(TinyNet().state_dict())
    assert run.history[-1]["forget_loss"] < run.history[0]["forget_loss"] / 2


def test_the_extra_output_is_of_the_heads_class_which_computes_in_fp32():
    model = build_model("small_cnn", 2, 0, "none")
    unlearner = build(BoundaryExpand, facts={"n_targets": 2}, model=model, original=model)
    assert type(unlearner.expanded["extra"]) is type(model.head)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.features(torch.rand(4, 3, 32, 32))
        assert unlearner.expanded["extra"](features).dtype is torch.float32


def test_initial_weights_draw_from_a_generator_and_leave_the_global_one():
    state = torch.get_rng_state()
    layers = []
    for number in (0, 0, 1):
        with initial_weights(torch_generator(number)):
            layers.append(nn.Linear(3, 2).weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layers[0], layers[1])
    assert not torch.equal(layers[0], layers[2])


# Names, and REWEIGHT where nothing passes over R.


@pytest.mark.parametrize("published, name", [("boundary_sh", "boundary_shrink"), ("boundary_exp", "boundary_expand")])
def test_published_names_are_the_methods(published: str, name: str, tmp_path: Path):
    command = "--dataset digits --unlearning_ratio 0.9"
    config = configuration(f"--method {published} {command}")
    assert config.method == name
    assert (config.values, config.sources) == (lambda one: (one.values, one.sources))(
        configuration(f"--method {name} {command}")
    )
    file = tmp_path / "mine.yaml"
    file.write_text(f"method: {published}\ntasks:\n- {{method: {published}, set: {{lr: 0.25}}}}\n")
    found = configuration("", config=file)
    assert (found.method, found.lr) == (name, 0.25)


@pytest.mark.parametrize(
    "name, aliases, taken",
    [("boundary_sh", (), "boundary_sh"), ("new", ("miu",), "miu"), ("new", ("fresh", "boundary_exp"), "boundary_exp")],
)
def test_a_name_or_spelling_that_is_taken(name: str, aliases: tuple[str, ...], taken: str):
    before = dict(METHODS), dict(ALIASES)
    with pytest.raises(ValueError, match=f"two methods are registered as '{taken}'"):
        register(name, aliases=aliases)(type("New", (Unlearner,), {}))
    assert before == (METHODS, ALIASES)


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.reweight is None])
@pytest.mark.parametrize("flag", ["--reweight", "--no-reweight", "--rob_approach target_reweight"])
def test_reweight_is_refused_where_nothing_passes_over_r(method: str, flag: str):
    expected = f"--reweight does not apply to {method}, which does not train on the retain set; leave it out"
    assert refused(f"--method {method} {flag}") == expected


@pytest.mark.parametrize("method", ["ga", "boundary_shrink", "boundary_expand"])
def test_without_reweight_to_choose_a_method_has_one_name(method: str):
    run = StoredRun(Path(), configuration(f"--method {method}").values)
    assert "reweight" not in run.config
    assert label(run) == method
    assert rank(run)[3] is False
    tagged = configuration(f"--method {method} --tag long --reference retrain_reweight")
    assert label(StoredRun(Path(), tagged.values)) == f"{method}, long"
