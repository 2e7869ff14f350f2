"""--freeze_backbone: what is trained, on which numbers, and that these are computed once and are the network's."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cli import ROOT, configuration, ok, refused, with_flags, words
from folders import make_waterbird
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from trees import shown
from workshop import HERE, assert_same_run, history_of, metrics_of, weights_of

from datasets.images import decoding
from datasets.images.features import Features, features_state, open_features
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader
from datasets.waterbird import Waterbirds
from method import UserError, load_model
from method.configs.cli import command_line
from method.configs.loading import Config
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.folder import folder_of
from method.runs.stored import read_runs
from models import build_model
from models.exporting import digest
from models.frozen import Frozen, build_trained_part, on_images, trained_part
from scripts import export_model, import_model
from scripts.relearn import command as relearn

N, DIM, HIDDEN = 92, 32, 24
MODEL = f"small_cnn-frozen{HIDDEN}"
TRAINING = "--epochs 2 --lr 0.05"  # where there are epochs
FROZEN = (
    f"--dataset waterbird --model small_cnn --image_size 32 {TRAINING} --batch_size 24 --device cpu --precision fp32 "
    f"--freeze_backbone --hidden_dim {HIDDEN} {HERE}"
)
QUICK = "--forgotten 0,1 --steps 2 --epochs 1 --threads 1 --device cpu"


def make_backbone(seed: int = 9) -> nn.Module:
    """small_cnn with running statistics that are nobody's: in train mode its features are others."""
    network, draw = build_model("small_cnn", 2, seed, "none").backbone, torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=draw)
            layer.running_var.uniform_(0.5, 2, generator=draw)
    return network.eval()


class Study:
    """Data, the weights of a backbone, and a store with the commands that fill it."""

    def __init__(self, root: Path) -> None:
        make_waterbird(root / "data")
        self.root, self.store, self.weights = root, root / "store", root / "backbone.pth"
        torch.save(make_backbone().state_dict(), self.weights)
        self.birds = Waterbirds.load(root / "data", 0, 0)
        self.folders = {"data_dir": root / "data", "store_dir": self.store, "checkpoint_dir": root / "none"}

    def flags(self, flags: str = "") -> str:
        found = with_flags(f"{FROZEN} --weights {self.weights}", flags)
        trains = not any(f"--method {name}" in found for name, kind in METHODS.items() if not kind.has_epochs)
        return found if trains else found.replace(TRAINING, "")

    def config(self, flags: str) -> Config:
        return configuration(self.flags(flags), **self.folders)

    def run(self, flags: str, **folders: Path) -> Path:
        """Make a run; its folder."""
        told = ok(self.flags(flags), **(self.folders | folders)).out.strip().splitlines()[-1]
        return Path(told.removeprefix("done: "))

    def refuses(self, flags: str) -> str:
        return refused(self.flags(flags), **self.folders)

    def images(self) -> Tensor:
        """All images, normalised, as runs read them."""
        batches = Loader(self.birds, 32, 0, False).batches(np.arange(N), N, None)
        return normalise(next(iter(batches))["image"], torch.channels_last)

    def features(self) -> Tensor:
        """(92, 32) by hand, in the batches and the layout that define them to the last bit."""
        network = make_backbone().to(memory_format=torch.channels_last)
        with torch.no_grad():
            return network(self.images())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pretrained, a retrained and an unlearned run; nobody may change them."""
    study = Study(tmp_path_factory.mktemp("study"))
    for flags in ("pretrain", "retrain --unlearning_ratio 0.9 --reweight", "ft --unlearning_ratio 0.9 --reweight"):
        study.run(f"--method {flags}")
    return study


@pytest.fixture
def own(study: Study, tmp_path: Path) -> Study:
    """A study of one's own, with the pretrained run."""
    mine = Study(tmp_path)
    mine.run("--method pretrain")
    return mine


def place(study: Study) -> Path:
    """The file of the only features in its store."""
    (file,) = study.store.glob("waterbird/features-*/features")
    return file


def pretrained(study: Study) -> Path:
    return study.store / "waterbird" / MODEL / "pretrain_0"


def kept_features(study: Study) -> Features:
    """What the file holds, whatever it was made from."""
    content = place(study).read_bytes()
    return Features(np.frombuffer(content[: N * DIM * 4], dtype=np.float32).reshape(N, DIM), "")


# The parts.


def test_the_network_stays_in_eval_mode_and_gets_no_gradient_whatever_is_done_to_the_whole():
    backbone = build_model("small_cnn", 3, 0, "none")
    whole = on_images(backbone, build_trained_part(DIM, HIDDEN, 3, 0))
    before = {name: value.clone() for name, value in backbone.backbone.state_dict().items()}
    whole.train().requires_grad_(True)
    cross_entropy(whole(torch.randn(6, 3, 32, 32)), torch.arange(6) % 3).backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.backbone.state_dict().items())
    assert all(weight.grad is None for weight in backbone.backbone.parameters())
    assert all(weight.grad is not None for weight in (*whole.backbone.hidden.parameters(), *whole.head.parameters()))
    assert whole.backbone.hidden.training
    assert not any(layer.training for layer in backbone.backbone.modules())


def test_what_is_trained_is_a_hidden_layer_and_a_head_drawn_from_the_seed():
    part, again, other = (build_trained_part(DIM, HIDDEN, 3, seed) for seed in (4, 4, 5))
    sizes = {name: tuple(value.shape) for name, value in part.state_dict().items()}
    assert sizes == {
        "backbone.0.weight": (HIDDEN, DIM), "backbone.0.bias": (HIDDEN,),
        "head.weight": (3, HIDDEN), "head.bias": (3,),
    }  # fmt: skip
    features = torch.randn(5, DIM)
    by_hand = (features @ part.backbone[0].weight.T + part.backbone[0].bias).clamp(min=0)
    torch.testing.assert_close(part.features(features), by_hand)
    torch.testing.assert_close(part(features), by_hand @ part.head.weight.T + part.head.bias)
    assert torch.equal(part.head.weight, again.head.weight)
    assert not torch.equal(part.head.weight, other.head.weight)
    assert part.feature_dim == part.untrained().feature_dim == HIDDEN


def test_the_trained_part_of_a_network_has_its_weights_and_a_whole_one_is_its_own():
    backbone, part = build_model("small_cnn", 3, 0, "none"), build_trained_part(DIM, HIDDEN, 3, 0)
    whole = on_images(backbone, part).eval()
    taken = trained_part(whole)
    assert taken.head is part.head
    assert taken.backbone is part.backbone
    assert not taken.training
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(taken(backbone.eval().features(images)), whole(images))
    assert trained_part(backbone) is backbone


# The features.


def test_the_kept_features_are_those_of_the_network_in_eval_mode_to_the_last_bit(study: Study):
    kept = kept_features(study)
    assert torch.equal(torch.from_numpy(kept.values.copy()), study.features())
    stored = yaml.safe_load((pretrained(study) / "config.yaml").read_text())
    assert stored["inputs"]["backbone"] == digest(make_backbone().state_dict())
    assert (stored["identity"]["freeze_backbone"], stored["identity"]["hidden_dim"]) == (True, HIDDEN)


def test_a_run_opens_no_image_where_features_are_kept(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Path(shutil.copytree(study.store, tmp_path / "store"))

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"an image is opened: {arguments}")

    monkeypatch.setattr(decoding, "open_image", refuse)
    folder = study.run("--method scrub --unlearning_ratio 0.9", store_dir=store)
    assert metrics_of(folder)["n_test"] == np.count_nonzero(study.birds.split == 2)


@pytest.mark.parametrize("kind", ["none", "ram"])
def test_a_run_that_keeps_no_features_has_the_same_numbers(study: Study, tmp_path: Path, kind: str):
    folder = study.run(f"--method pretrain --cache {kind}", store_dir=tmp_path)
    assert_same_run(folder, pretrained(study))
    assert not list(tmp_path.glob("**/features*"))


def test_features_are_read_and_written_whole_and_of_their_state_alone(study: Study, tmp_path: Path):
    file, values = tmp_path / "features", np.arange(12, dtype=np.float32).reshape(4, 3)
    Features(values, "b" * 64).save(file, "a" * 64)
    found = open_features(file, "a" * 64)
    assert (found.dim, found.backbone) == (3, "b" * 64)
    rows = np.array([2, 0, 2])
    assert torch.equal(found.__getitems__((rows, rows)), torch.from_numpy(values[rows]))
    assert found.range_of(np.array([1, 2])) == ((3.0, 4.0, 5.0), (6.0, 7.0, 8.0))
    assert open_features(file, "c" * 64) is None
    assert open_features(tmp_path / "nowhere", "a" * 64) is None
    for content in (file.read_bytes()[4:], b"", b"short"):
        file.write_bytes(content)
        assert open_features(file, "a" * 64) is None
    states = {features_state(study.birds, made_by) for made_by in ("one", "other")}
    assert len(states) == 2


@pytest.mark.parametrize("what", ["images", "file", "weights"])
def test_features_are_made_anew_where_something_else_made_them(own: Study, what: str):
    before, first = kept_features(own).values.copy(), place(own)
    if what == "images":
        shutil.copy(own.birds.file(4), own.birds.file(3))
        own.run("--method pretrain --overwrite")
    elif what == "file":
        first.write_bytes(first.read_bytes()[:-7])
        own.run("--method pretrain --overwrite")
    else:
        torch.save(make_backbone(3).state_dict(), own.weights)
        own.run("--method pretrain --overwrite")
        (file,) = {*own.store.glob("waterbird/features-*/features")} - {first}
        assert file.read_bytes() != first.read_bytes()
        return
    changed = (kept_features(own).values != before).any(axis=1)
    assert changed.nonzero()[0].tolist() == ([3] if what == "images" else [])
    assert [one.name for one in place(own).parent.iterdir()] == ["features"]


# The runs.


def test_one_step_is_the_step_of_sgd_written_out(study: Study, tmp_path: Path):
    """One batch of all of train, so that the order changes nothing but last bits."""
    flags = "--method pretrain --epochs 1 --batch_size 100 --lr 0.1 --momentum 0 --warmup_epochs 0 --weight_decay 0.5"
    found = weights_of(study.run(f"{flags} --select last", store_dir=tmp_path))
    rows = torch.from_numpy(np.flatnonzero(study.birds.split == 0))
    part = build_trained_part(DIM, HIDDEN, 2, 0)
    cross_entropy(part(study.features()[rows]), torch.from_numpy(study.birds.target.copy())[rows]).backward()
    for name, weight in part.named_parameters():
        expected = weight.detach() - 0.1 * (weight.grad + 0.5 * weight.detach())
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)


SLOW = [name for name in METHODS if name not in ("pretrain", "retrain", "ft", "miu", "salun", "boundary_shrink")]


@pytest.mark.parametrize(
    "method", ["miu", "salun", "boundary_shrink", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_every_method_trains_the_head_alone(study: Study, tmp_path: Path, method: str):
    store = Path(shutil.copytree(study.store, tmp_path / "store"))
    further = "--ssd_alpha 0.5" if method == "ssd" else ""  # at the default it dampens nothing here
    folder = study.run(f"--method {method} --unlearning_ratio 0.9 {further}", store_dir=store)
    weights, start = weights_of(folder), weights_of(pretrained(study))
    assert weights.keys() == start.keys()
    assert any(not torch.equal(weights[name], start[name]) for name in weights)
    records = Records.load(folder / "records.npz")
    part = build_trained_part(DIM, HIDDEN, 2, 0)
    part.load_state_dict(weights)
    with torch.no_grad():
        np.testing.assert_array_equal(part(study.features()).numpy()[records.index], records.logits)


def test_boundary_shrink_steps_within_the_range_of_the_features(study: Study, monkeypatch: pytest.MonkeyPatch):
    from method.unlearners.boundary_shrink import BoundaryShrink

    seen = []
    monkeypatch.setattr(BoundaryShrink, "end_epoch", lambda self, epoch: seen.append(self.task) or {})
    study.run("--method boundary_shrink --unlearning_ratio 0.9 --tag seen")
    train = study.features()[torch.from_numpy(study.birds.split == 0)]
    assert seen[0].darkest == tuple(train.min(dim=0).values.tolist())
    assert seen[0].brightest == tuple(train.max(dim=0).values.tolist())


def test_a_checkpoint_holds_what_was_trained_and_names_its_backbone(study: Study):
    stored = torch.load(pretrained(study) / "model.pt", weights_only=True)
    assert sorted(stored["model"]) == ["backbone.0.bias", "backbone.0.weight", "head.bias", "head.weight"]
    facts = stored["facts"]
    assert (facts["freeze_backbone"], facts["hidden_dim"], facts["model"]) == (True, HIDDEN, "small_cnn")
    assert facts["backbone"] == digest(make_backbone().state_dict())


def test_nothing_of_a_whole_network_is_changed_by_the_new_keys(study: Study, tmp_path: Path):
    plain = configuration("--method miu --dataset waterbird")
    assert not {"freeze_backbone", "hidden_dim"} & plain.identity().keys()
    assert folder_of(plain, "out") == Path("out/waterbird/resnet18/split0/miu_0.5_0")
    assert (plain.cache, plain.use_train_aug) == ("none", False)
    ours = study.config("--method ft")
    assert folder_of(ours, "out").parent.parent.name == MODEL
    assert (ours.cache, ours.use_train_aug) == ("disk", False)
    assert ours.sources["use_train_aug"] == "--freeze_backbone"
    assert any("no pass is augmented" in note for note in ours.notes)


def test_the_command_of_the_original_is_frozen_too(study: Study):
    command = command_line(study.config("--method miu"), "pretrain")
    assert f"--freeze_backbone --hidden_dim {HIDDEN}" in command
    assert ok(study.flags("--method pretrain"), **study.folders).out.strip() == f"already done: {pretrained(study)}"


@pytest.mark.parametrize(
    "flags, told",
    [
        ("--weights none", "--weights is none; give --weights FILE or imagenet"),
        ("--head keep", "leave out --head"),
        ("--use_train_aug", "use_train_aug is true (--use_train_aug), and --freeze_backbone has features of"),
        ("--no-freeze_backbone", "--hidden_dim is of the hidden layer that --freeze_backbone trains"),
        ("--hidden_dim 0", "--hidden_dim: hidden_dim is 0, expected a whole number at least 1"),
        ("--tag other --weights nowhere.pth", "nowhere.pth: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(study: Study, flags: str, told: str):
    assert told in study.refuses(f"--method pretrain {flags}")


def test_an_original_that_does_not_fit_is_refused_by_the_flag_that_would_fit(study: Study, tmp_path: Path):
    whole = ok(with_flags(FROZEN.replace(f"--freeze_backbone --hidden_dim {HIDDEN}", ""), "--method pretrain "
               "--no-pretrained --epochs 1"), **(study.folders | {"store_dir": tmp_path}))  # fmt: skip
    folder = whole.out.strip().splitlines()[-1].removeprefix("done: ")
    told = study.refuses(f"--method ft --original {folder}")
    assert "its answer about a frozen backbone is False, this run's is True; give no --freeze_backbone" in told
    told = study.refuses(f"--method ft --hidden_dim 8 --original {pretrained(study)}")
    assert f"its width of the hidden layer is {HIDDEN}, this run's is 8; give --hidden_dim {HIDDEN}" in told


def test_a_model_of_another_program_is_no_head(study: Study, capsys: pytest.CaptureFixture[str]):
    assert import_model.main([str(study.weights), *words(study.flags(), **study.folders)]) == 2
    assert "says how a model is trained, which nobody knows of an imported one" in capsys.readouterr().err


# What is made of them.


def test_a_loaded_model_takes_images_and_gives_the_logits_of_its_run(study: Study):
    folder = study.store / "waterbird" / MODEL / "split0/ft_reweight_0.9_0"
    model, records = load_model(folder), Records.load(folder / "records.npz")
    assert isinstance(model.network.backbone, Frozen)
    with torch.no_grad():
        logits = model.to(memory_format=torch.channels_last)(study.images()).numpy()[records.index]
        one = model(model.preprocess(study.birds.file(5))[None]).numpy()[0]
    np.testing.assert_array_equal(logits, records.logits)
    np.testing.assert_allclose(one, records.logits[records.index == 5][0], rtol=0, atol=1e-4)


def test_a_model_whose_backbone_is_gone_or_another_is_not_loaded(own: Study):
    torch.save(make_backbone(3).state_dict(), own.weights)
    with pytest.raises(UserError, match="which has other tensors now; put back those that it was trained on"):
        load_model(pretrained(own))
    own.weights.unlink()
    with pytest.raises(UserError, match="which is not there; put the file back"):
        load_model(pretrained(own))


def test_an_export_loads_without_this_program(study: Study, tmp_path: Path):
    out = tmp_path / "out.pth"
    assert export_model.main([str(pretrained(study)), "--format", "state_dict", "--out", str(out)]) == 0
    theirs = nn.Sequential()
    theirs.add_module("body", make_backbone())
    theirs.add_module("head", nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)))
    state = torch.load(out, weights_only=True)
    theirs.load_state_dict({key if key.startswith("head.") else f"body.{key}": one for key, one in state.items()})
    images, model = study.images()[:4], load_model(pretrained(study))
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(images), model(images), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_graph_gives_the_same_logits(study: Study, tmp_path: Path):
    import onnxruntime

    images, model = study.images()[:5].contiguous(), load_model(pretrained(study))
    for kind in ("torch_export", "onnx"):
        out = ["--out", str(tmp_path / kind)]
        assert export_model.main([str(pretrained(study)), "--format", kind, *out]) == 0
    program = torch.export.load(tmp_path / "torch_export").module()
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(program(images), expected, rtol=0, atol=1e-4)
    found = session.run(["logits"], {"images": images.numpy()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)


def test_relearning_opens_no_image(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoding, "open_image", None)
    run = study.store / "waterbird" / MODEL / "split0/ft_reweight_0.9_0"
    assert relearn.main([str(run), *QUICK.split(), "--lr", "0.05"]) == 0
    found = json.loads((run / "relearn.json").read_text())
    assert found["findings"]
    (run / "relearn.json").unlink()


def test_reports_keep_heads_and_whole_networks_apart(study: Study, capsys: pytest.CaptureFixture[str]):
    runs = read_runs(study.store)
    assert {run.config["model"] for run in runs} == {MODEL}
    assert {run.facts["hidden_dim"] for run in runs} == {HIDDEN}
    assert MODEL in shown(study.store, capsys)


@pytest.mark.slow
def test_two_processes_compute_the_same_features_once(own: Study, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(ROOT / "main.py")]
    folders = own.folders | {"store_dir": tmp_path / "two"}
    asked = words(own.flags("--method pretrain"), **folders)
    subprocess.run([sys.executable, *launch, *asked], check=True, capture_output=True, timeout=300)
    (file,) = (tmp_path / "two").glob("waterbird/features-*/features")
    assert file.read_bytes() == place(own).read_bytes()
    assert len(history_of(tmp_path / "two/waterbird" / MODEL / "pretrain_0")) == 2
