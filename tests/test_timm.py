"""timm's networks: names, weights, features and heads, and every method on a convolutional and on a transformer one."""

import copy
import json
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import act_net
import processes
import pytest
import test_distributed
import test_engine
import timm
import tiny
import torch
import yaml
from cli import ok, refused
from folders import make_custom
from test_distributed import ended, torchrun
from tiny import SpyEngine, batch_of, make_run, outcome, snapshot
from torch import Tensor, nn

from method.registry import METHODS
from models import build_model, default_pixels
from models.weights import classifier_names, own_names
from utils.errors import UserError

CONVOLUTIONAL, TRANSFORMER = "timm/test_efficientnet", "timm/test_vit"
SIZE = 32  # two patches a side for the transformer
SMALL = f"--dataset custom --image_size {SIZE} --epochs 1 --batch_size 8 --lr 0.01 --device cpu --precision fp32"
TASK = "--forget_groups Female:White --unlearning_ratio 0.5"
QUICK = {"iu": "--iu_solver_steps 2", "miu": "--miu_critic_steps_first 2"}
UNLEARNERS = [name for name, kind in METHODS.items() if kind.from_original]


def sentence(name: str, image_size: int = SIZE, weights: str = "none", head: str | None = None, n: int = 3) -> str:
    """The one sentence with which a network is refused."""
    with pytest.raises(UserError) as error:
        build_model(name, n, 0, weights, image_size, head)
    assert "\n" not in str(error.value)
    return str(error.value)


def timms(name: str, n: int = 3) -> nn.Module:
    """The network as timm itself makes it, with weights that no seed here gives."""
    torch.manual_seed(99)
    size = {"img_size": SIZE} if "vit" in name else {}
    return timm.create_model(name.removeprefix("timm/"), num_classes=n, **size)


def images(n: int = 2) -> Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


# What is built.


@pytest.mark.parametrize("name", [CONVOLUTIONAL, TRANSFORMER, "timm/test_convnext", "timm/test_maxvit"])
def test_names_are_timms_own_and_logits_too(name: str):
    if not timm.is_model(name.removeprefix("timm/")):
        pytest.skip(f"timm {timm.__version__} has no {name.removeprefix('timm/')}")
    model, theirs = build_model(name, 3, 0, "none", SIZE), timms(name)
    theirs.load_state_dict(own_names(model.state_dict(), model.head_name))
    image = images()
    assert model.eval()(image).equal(theirs.eval()(image))
    features = model.features(image)
    assert features.shape == (2, model.feature_dim) == (2, theirs.head_hidden_size)
    assert features.equal(theirs.forward_head(theirs.forward_features(image), pre_logits=True))
    back = classifier_names(theirs.state_dict(), model.head_name)
    assert back.keys() == model.state_dict().keys()


@pytest.mark.parametrize("name", [CONVOLUTIONAL, TRANSFORMER])
def test_initial_weights_depend_on_the_seed_alone(name: str):
    states = []
    for seed, before in ((7, 1), (7, 2), (8, 1)):
        torch.manual_seed(before)
        states.append(build_model(name, 3, seed, "none", SIZE).state_dict())
    first, again, other = states
    assert all(value.equal(again[key]) for key, value in first.items())
    assert not first["head.weight"].equal(other["head.weight"])
    assert not any(value.equal(other[key]) for key, value in first.items() if value.ndim > 1 and "cls_token" not in key)


def test_the_head_is_fp32_under_autocast():
    for name in (CONVOLUTIONAL, TRANSFORMER):
        model = build_model(name, 3, 0, "none", SIZE).eval()
        with torch.autocast("cpu", torch.bfloat16):
            features, logits = model.features(images()), model(images())
        assert features.dtype is logits.dtype is torch.float32
        assert logits.equal(features @ model.head.weight.T + model.head.bias)


def test_a_copy_is_a_network_of_its_own():
    model = build_model(CONVOLUTIONAL, 3, 0, "none", SIZE).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.zero_()
    assert not other.features(images()).equal(model.features(images()))
    again = pickle.loads(pickle.dumps(model))
    assert again(images()).equal(model(images()))


def test_what_is_no_linear_layer_of_features_is_refused(monkeypatch: pytest.MonkeyPatch):
    assert "has 2 last layers, expected one" in sentence("timm/deit_tiny_distilled_patch16_224")
    assert "ends in a Conv2d, expected a linear layer with a bias" in sentence("timm/dla46_c")
    real = timm.models.EfficientNet.forward

    def halved(self: nn.Module, image: Tensor) -> Tensor:
        return real(self, image) / 2

    monkeypatch.setattr("timm.models.EfficientNet.forward", halved)
    assert "its logits are not a linear layer of its 256 features" in sentence(CONVOLUTIONAL)


def test_sizes_that_do_not_fit_are_refused():
    assert "cuts them into patches of 16 x 16, expected a multiple" in sentence(TRANSFORMER, 40)
    message = sentence("timm/inception_v3", 32)
    assert "cannot take images of --image_size 32 (" in message
    assert message.endswith("it was made for 299")


def test_unknown_names_get_the_near_ones():
    assert sentence("timm/test_vitt").endswith("has no network test_vitt; near are test_vit, test_vit4, test_vit3")
    message = sentence("timm/resnet18.a1")
    assert "has no weights a1 of resnet18; it has a1_in1k, " in message
    assert "has no weights  of resnet18; it has a1_in1k, " in sentence("timm/resnet18.")
    for name in ("timm/qqqqqqqqq", "timm/hf-hub:timm/resnet18"):
        assert "timm.list_models() lists all" in sentence(name)
    assert refused("--method pretrain --model resnet17").endswith("resnet50, small_cnn, or timm/NAME")
    for name in ("timm/", "timm/..", "timm/a/b", "timm/a b"):
        assert "expected one of resnet18" in refused(f"--method pretrain --model '{name}'")


def test_without_timm_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "models.timm_networks")
    assert sentence(CONVOLUTIONAL) == (
        "--model timm/NAME needs timm, which is not installed: pip install -r requirements-timm.txt"
    )


# Weights.


@pytest.mark.parametrize("name", [CONVOLUTIONAL, TRANSFORMER])
def test_a_last_layer_that_fits_is_an_open_question(tmp_path: Path, name: str):
    theirs, file = timms(name), tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), file)
    message = sentence(name, weights=str(file))
    assert "of 3 outputs, as many as the data set has classes" in message
    assert "--head keep" in message
    assert "--head new" in message
    kept, new = (build_model(name, 3, 0, str(file), SIZE, head) for head in ("keep", "new"))
    assert kept.eval()(images()).equal(theirs.eval()(images()))
    assert kept.loaded.endswith(f"with the last layer, {kept.head_name}; left out nothing; new nothing")
    assert new.eval().features(images()).equal(kept.features(images()))
    head = f"{new.head_name}.weight, {new.head_name}.bias"
    assert new.loaded.endswith(f" tensors; left out {head}; new {head}")
    assert new.head.weight.equal(build_model(name, 3, 0, "none", SIZE).head.weight)
    # Of another size it is left out without a question, and cannot be kept.
    assert build_model(name, 4, 0, str(file), SIZE).loaded == new.loaded
    assert "of 3 outputs, and the data set 4 classes: --head keep cannot be" in sentence(
        name, weights=str(file), head="keep", n=4
    )


def test_a_file_without_a_last_layer_asks_nothing(tmp_path: Path):
    model, file = build_model("small_cnn", 3, 9, "none"), tmp_path / "backbone.pth"
    torch.save(model.backbone.state_dict(), file)
    for head in (None, "new"):
        assert build_model("small_cnn", 3, 0, str(file), head=head).loaded.endswith(
            "loaded 30 tensors; left out nothing; new head.weight, head.bias"
        )
    assert "has no last layer head, and the data set 3 classes" in sentence("small_cnn", weights=str(file), head="keep")
    torch.save(own_names(model.state_dict(), "head"), file)
    assert "--head new" in sentence("small_cnn", weights=str(file))
    assert build_model("small_cnn", 3, 0, str(file), head="keep").head.weight.equal(model.head.weight)


def test_timms_published_weights_are_fetched_by_timm(monkeypatch: pytest.MonkeyPatch):
    real, published = timm.create_model, timms(CONVOLUTIONAL, 10)

    def fetched(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        assert not (pretrained and "num_classes" in options)
        return published if pretrained else real(name, **options)

    monkeypatch.setattr("timm.create_model", fetched)
    model = build_model(CONVOLUTIONAL, 3, 0, "imagenet", SIZE)
    theirs = own_names(model.state_dict(), "classifier")
    assert all(value.equal(theirs[key]) for key, value in published.state_dict().items() if "classifier" not in key)
    assert model.loaded.startswith(f"ImageNet weights of {CONVOLUTIONAL}: loaded ")
    assert "left out classifier.weight, classifier.bias; new classifier.weight, classifier.bias" in model.loaded
    assert "--head keep" in sentence(CONVOLUTIONAL, weights="imagenet", n=10)


def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: Any, **__: Any) -> None:
        logging.getLogger("huggingface_hub").warning("retrying")
        raise OSError("no network\nat all")

    monkeypatch.setattr("timm.models._builder.load_pretrained", unreachable)
    message = sentence(CONVOLUTIONAL, weights="imagenet")
    assert "could neither be read nor fetched (OSError: no network): give --weights FILE" in message
    assert logging.getLogger("unlearning").isEnabledFor(logging.WARNING)


def test_timms_weights_bring_their_mean_and_standard_deviation():
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    assert default_pixels("timm/resnet18", "imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert default_pixels("timm/tf_efficientnet_lite0", "imagenet") == (mean, std)
    for name, weights in (("resnet18", "imagenet"), ("timm/resnet18", "none"), ("timm/resnet18", "a.pth")):
        assert default_pixels(name, weights) == (mean, std)


# Traps.


@pytest.fixture
def act_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the tiny data are of a network whose batch norm has its activation inside."""
    act_net.use(monkeypatch.setattr)


AT_ONCE = ("pretrain", "salun", "miu", "miu, reference")
HAND = [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in test_engine.HAND]


@pytest.mark.usefixtures("act_network")
@pytest.mark.parametrize("name", HAND)
def test_every_step_by_hand_on_batch_norm_with_an_activation_inside(tmp_path: Path, name: str):
    test_engine.test_every_step_equals_the_one_written_by_hand(tmp_path, name, True)


@pytest.mark.usefixtures("act_network")
@pytest.mark.parametrize("method", ["scrub", "ssd", "miu"])
def test_a_phase_changes_only_what_it_trains_there_too(tmp_path: Path, method: str):
    test_engine.test_a_phase_changes_only_what_it_trains(tmp_path, method, "strict")


class Watched(nn.Dropout):
    """Dropout that remembers in which mode it was asked."""

    def __init__(self) -> None:
        super().__init__(0.3)
        self.modes: list[bool] = []

    def forward(self, image: Tensor) -> Tensor:
        self.modes.append(self.training)
        return super().forward(image)


def watched_run(method: str, folder: Path, kind: Any = SpyEngine) -> tiny.Run:
    """A run of a network with dropout, whose original and whose other copies remember too."""
    folder.mkdir(exist_ok=True)
    made = make_run(method, folder, kind)
    for network in {made.model, *([made.original.module] if made.original else [])}:
        network.backbone.append(Watched())
        network.train(network.training)
    if method == "bad_teacher":
        made.unlearner.incompetent.backbone.append(Watched().eval())
    return made


class ModeEngine(SpyEngine):
    """An engine that looks in which mode a step asked the network's dropout."""

    def _step(self, phase: Any, *arguments: Any) -> Tensor:
        watched = self.unlearner.model.backbone[-1]
        watched.modes.clear()
        loss = super()._step(phase, *arguments)
        assert watched.modes
        assert set(watched.modes) == {phase.train_mode}, phase.name
        return loss


@pytest.mark.parametrize("method", METHODS)
def test_dropout_is_off_where_a_phase_or_a_teacher_promises_eval(tmp_path: Path, method: str):
    made = watched_run(method, tmp_path, ModeEngine)
    made.engine.train()
    teachers = [made.original.module] if made.original else []
    teachers += [made.unlearner.incompetent] if method == "bad_teacher" else []
    assert not any(mode for teacher in teachers for mode in teacher.backbone[-1].modes)
    assert not teachers or any(teacher.backbone[-1].modes for teacher in teachers) or method not in ("scrub", "miu")


class DisturbedEngine(SpyEngine):
    """An engine beside which others draw from the global generator."""

    def _step(self, *arguments: Any) -> Tensor:
        torch.seed()
        return super()._step(*arguments)


@pytest.mark.parametrize("method", ["pretrain", "miu", "scrub"])
def test_what_dropout_drops_is_a_function_of_the_step(tmp_path: Path, method: str):
    made = [watched_run(method, tmp_path / kind.__name__, kind) for kind in (SpyEngine, DisturbedEngine)]
    for one in made:
        one.engine.train()
    assert outcome(made[0]) == outcome(made[1])
    trained = [step for step in made[0].engine.spied_steps if step.phase.module == "model"]
    assert len(trained) > 3


def test_the_incompetent_teacher_of_a_transformer_is_built_anew(tmp_path: Path):
    model = build_model(TRANSFORMER, 3, 0, "none", SIZE)
    made = [tiny.build(METHODS["bad_teacher"], model=model, facts={"seed": seed}).incompetent for seed in (0, 0, 1)]
    first, again, other = (snapshot(one) for one in made)
    assert all(value.equal(again[name]) for name, value in first.items())
    assert not first["backbone.pos_embed"].equal(other["backbone.pos_embed"])
    for name in ("backbone.pos_embed", "backbone.blocks.0.attn.qkv.weight", "head.weight"):
        assert not first[name].equal(snapshot(model)[name])
    assert not any(one.training or weight.requires_grad for one in made for weight in one.parameters())


def test_second_derivatives_go_through_attention():
    model = build_model(TRANSFORMER, tiny.N_TARGETS, 0, "none", SIZE).eval()
    unlearner = tiny.build(METHODS["iu"], model=model)
    unlearner.direction = torch.ones(sum(weight.numel() for weight in model.parameters()))
    batch = batch_of([0, 1, 2], image=images(3))
    unlearner.fisher_product(batch).backward()
    # By hand: the mean over samples of g (g . direction).
    expected = torch.zeros_like(unlearner.direction)
    for image, target in zip(batch.image, batch.target, strict=True):
        loss = nn.functional.cross_entropy(model(image[None]), target[None])
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
        expected += gradient * gradient.sum() / 3
    torch.testing.assert_close(unlearner.gradient(), expected, rtol=1e-3, atol=1e-5)


# Whole runs.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of the user's own to train on."""
    return make_custom(tmp_path_factory.mktemp("timm"))


def command(method: str, model: str, data: Path) -> str:
    """A run of a second."""
    kind = METHODS[method.split()[0]]
    task = TASK if kind.forgets else ""
    own = QUICK.get(method, "")
    kept = SMALL if kind.has_epochs else SMALL.replace("--epochs 1", "").replace("--lr 0.01", "")
    return f"--method {method} {kept} {task} {own} --model {model} --no-pretrained --data_dir {data}"


def test_a_run_says_what_it_is(data: Path, tmp_path: Path):
    folders = {"store_dir": tmp_path, "checkpoint_dir": tmp_path / "none"}
    pixels = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --view stretch"
    ok(f"{command('pretrain', TRANSFORMER, data)} {pixels}", **folders)
    folder = tmp_path / "my_data/timm-test_vit/pretrain_0"
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["config"]["model"] == stored["identity"]["model"] == TRANSFORMER
    assert stored["pixels"] == {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
    ok(f"{command('ft', TRANSFORMER, data)} {pixels}", **folders)
    (metrics,) = tmp_path.glob("my_data/timm-test_vit/groups-*/ft_0.5_0/metrics.json")
    assert 0 <= json.loads(metrics.read_text())["test_acc"] <= 100
    for flag, wanted in (("--mean", "0.485,0.456,0.406"), ("--std", "0.229,0.224,0.225"), ("--view", "stretch")):
        others = pixels.split(flag)[0] + pixels.split(f"{flag} {wanted}")[1]
        message = refused(f"{command('ft', TRANSFORMER, data)} --tag other {others}", **folders)
        assert f"give {flag} {wanted}" in message


@pytest.mark.slow
@pytest.mark.parametrize("model", [CONVOLUTIONAL, TRANSFORMER])
def test_every_method_runs(data: Path, tmp_path: Path, model: str):
    folders = {"store_dir": tmp_path, "checkpoint_dir": tmp_path / "none"}
    for method in ("pretrain", "retrain", "retrain --reweight", *UNLEARNERS):
        ok(command(method, model, data), **folders)
    found = {file.parent.name: json.loads(file.read_text()) for file in tmp_path.rglob("metrics.json")}
    assert len(found) == len(METHODS) + 1
    assert all(0 <= metrics["test_acc"] <= 100 for metrics in found.values())
    assert all(metrics["avg_gap"] is not None for name, metrics in found.items() if "train" not in name)


@pytest.mark.slow
def test_every_method_ends_in_two_processes_where_it_does_in_one(tmp_path: Path):
    """On batch norm with an activation inside: two epochs, critics and running statistics too."""
    one, *two = [found["methods"] for n in (1, 2) for found in processes.start(n, "act_net", tmp_path / str(n))]
    assert one.keys() == processes.METHODS.keys()
    for name, expected in one.items():
        test_distributed.assert_close([found[name]["weights"] for found in two], expected["weights"], 1e-5)


@pytest.mark.slow
def test_two_processes_end_where_one_does(data: Path, tmp_path: Path):
    """Batch norm with an activation inside, over both: weights and statistics within 1e-4."""
    weights = {}
    for n in (1, 2):
        for method in ("pretrain", "scrub"):
            words = f"{command(method, CONVOLUTIONAL, data)} --num_workers 0"
            original = (
                "" if method == "pretrain" else f"--original {tmp_path / '1'}/my_data/timm-test_efficientnet/pretrain_0"
            )
            if n == 1:
                ok(f"{words} {original}", store_dir=tmp_path / "1", checkpoint_dir=tmp_path / "1/none")
            else:
                words = words.replace("--device cpu --precision fp32", "")
                code, _, err = ended(torchrun(f"{words} {original}", tmp_path / "2"))
                assert code == 0, err
            (file,) = (tmp_path / str(n)).rglob(f"{method}*/model.pt")
            weights[n, method] = torch.load(file, weights_only=True)["model"]
    for method in ("pretrain", "scrub"):
        one, two = weights[1, method], weights[2, method]
        differences = {name: float((two[name] - value).abs().max()) for name, value in one.items()}
        largest = max(differences, key=differences.get)
        print(f"{method}: {differences[largest]:.1e} in {largest}")
        assert differences[largest] <= 1e-4
