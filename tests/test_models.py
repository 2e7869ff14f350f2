"""Models: fp32 heads, seeded weights, and weight files that fit, do not fit, or are no such files at all."""

import pickle
import shutil
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from models import MODELS, build_model
from models.backbone import Backbone
from models.classifier import Classifier
from models.frozen import build_trained_part
from models.weights import classifier_names, own_names, read_state_dict
from utils.errors import UserError

RESNET_FILE = "resnet18-f37072fd.pth"


@pytest.fixture(scope="module")
def resnet_state() -> dict[str, Tensor]:
    """A state dict as torchvision and timm write it: 1000-class fc, here with weights no seed of ours gives."""
    model = build_model("resnet18", 1000, 123, "none")
    state = dict(model.backbone.state_dict())
    return {**state, "fc.weight": model.head.weight.detach(), "fc.bias": model.head.bias.detach()}


def backbone_equals(model: Classifier, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in model.backbone.state_dict().items())


def refused(name: str, weights: object, n_targets: int = 3) -> str:
    """The one sentence with which `weights` are refused."""
    with pytest.raises(UserError) as error:
        build_model(name, n_targets, 0, str(weights))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name, size, feature_dim",
    [("small_cnn", 32, 32), ("small_cnn", 64, 32), ("resnet18", 32, 512), ("resnet18", 64, 512)],
)
def test_features_and_logits_have_the_stated_shapes(name: str, size: int, feature_dim: int) -> None:
    model = build_model(name, 9, 0, "none").eval()
    image = torch.randn(2, 3, size, size)
    features, logits = model.features(image), model(image)
    assert model.feature_dim == feature_dim
    assert model.n_targets == 9
    assert features.shape == (2, feature_dim)
    assert logits.shape == (2, 9)
    torch.testing.assert_close(logits, features @ model.head.weight.T + model.head.bias)


def test_small_cnn_has_the_layers_its_docstring_names() -> None:
    model = build_model("small_cnn", 2, 0, "none")
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [8, 16, 16, 32, 32]
    assert [c.stride for c in convolutions] == [(2, 2), (2, 2), (1, 1), (2, 2), (1, 1)]
    assert all(c.kernel_size == (3, 3) and c.bias is None for c in convolutions)
    assert model.backbone[:-2](torch.zeros(2, 3, 32, 32)).shape == (2, 32, 4, 4)
    weights = 9 * (3 * 8 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32)
    batch_norm = 2 * (8 + 16 + 16 + 32 + 32)
    assert sum(p.numel() for p in model.parameters()) == weights + batch_norm + 32 * 2 + 2


class Fixed(nn.Module):
    """A backbone that gives back its weight, computed in whatever precision autocast chooses."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.layer.weight, value)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image.new_ones(len(image), 1))


@pytest.mark.parametrize("training", [True, False])
def test_head_is_fp32_under_autocast_and_the_backbone_is_not(training: bool) -> None:
    value = 1 + 2**-9  # bf16 rounds it to 1, and fp32 holds it and its square
    model = Classifier(Backbone(Fixed(value), 1, "head"), 2).train(training)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[value], [1.0]]))
        model.head.bias.zero_()
    image = torch.zeros(1, 3, 4, 4)
    assert model(image).tolist() == [[value * value, value]]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.features(image).dtype == torch.float32
        assert model.features(image).item() == 1.0
        assert model(image).dtype == torch.float32
        assert model(image).tolist() == [[value, 1.0]]
        assert model.head(torch.tensor([[value]])).tolist() == [[value * value, value]]


@pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
def test_bf16_and_channels_last_train_on_the_cpu(name: str) -> None:
    model = build_model(name, 3, 0, "none").to(memory_format=torch.channels_last)
    image = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(image)
        loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert logits.dtype == loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = build_model(name, 3, 7, "none").state_dict()
    torch.manual_seed(2)
    again, other = build_model(name, 3, 7, "none").state_dict(), build_model(name, 3, 8, "none").state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert not any(torch.equal(first[key], other[key]) for key in first if key.endswith("0.conv1.weight"))


def test_global_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model("small_cnn", 3, 0, "none")
    assert torch.equal(torch.rand(3), expected)


def test_unknown_model_names_the_known_ones() -> None:
    assert "vgg" in (message := refused("vgg", "none"))
    assert all(name in message for name in MODELS)


def test_every_registered_model_builds() -> None:
    for name in MODELS:
        assert build_model(name, 2, 0, "none").head.weight.shape[0] == 2


def test_no_backbone_is_code_of_torchs_layers_alone() -> None:
    """torch 2.11 compiles nothing of such a network, and says nothing."""
    networks = [build_model(name, 2, 0, "none").backbone for name in MODELS]
    for network in [*networks, build_trained_part(4, 3, 2, 0).backbone]:
        assert not type(network).forward.__module__.startswith("torch.")


def test_registry_imports_nothing_heavy() -> None:
    code = "import sys, models; print([name for name in ('torch', 'torchvision', 'timm') if name in sys.modules])"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_those_of_the_architecture_and_back(resnet_state: dict[str, Tensor]) -> None:
    model = build_model("resnet18", 3, 0, "none")
    own = own_names(model.state_dict(), model.head_name)
    torchvision_own = resnet18(num_classes=3)
    torchvision_own.load_state_dict(own)
    image = torch.randn(2, 3, 32, 32)
    assert torchvision_own.eval()(image).equal(model.eval()(image))
    back = classifier_names(own, model.head_name)
    assert list(back) == list(model.state_dict())
    assert all(value is own[key] for key, value in zip(own, back.values(), strict=True))


def test_a_last_layer_within_another_keeps_what_stands_beside_it() -> None:
    names = ["backbone.head.norm.weight", "backbone.header.bias", "head.weight", "head.bias"]
    state = {name: torch.zeros(1) for name in names}
    own = own_names(state, "head.fc")
    assert list(own) == ["head.norm.weight", "header.bias", "head.fc.weight", "head.fc.bias"]
    assert list(classifier_names(own, "head.fc")) == names
    with pytest.raises(ValueError, match="conv1.weight"):
        own_names({"conv1.weight": torch.zeros(1)}, "fc")


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("entry", ["", "model", "state_dict", "model_state_dict"])
def test_a_state_dict_is_found_in_what_others_save(tmp_path: Path, entry: str, prefix: str) -> None:
    state = {"conv1.weight": torch.arange(3.0), "module_list.0.bias": torch.ones(2)}
    wrapped = {prefix + key: value for key, value in state.items()}
    torch.save({entry: wrapped, "epoch": 3} if entry else wrapped, tmp_path / "weights.pth")
    found = read_state_dict(tmp_path / "weights.pth")
    assert list(found) == list(state)
    assert all(found[key].equal(value) for key, value in state.items())


def test_a_name_that_only_some_entries_begin_with_is_kept(tmp_path: Path) -> None:
    torch.save({"module.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    assert list(read_state_dict(tmp_path / "weights.pth")) == ["module.weight", "fc.weight"]


def test_safetensors_are_read(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    save_file(resnet_state, path := tmp_path / "weights.safetensors")
    assert backbone_equals(build_model("resnet18", 3, 0, str(path)), resnet_state)
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged, or no .safetensors file" in refused("resnet18", path)
    torch.save(resnet_state, path)
    assert "damaged, or no .safetensors file" in refused("resnet18", path)


def test_safetensors_without_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "weights.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert refused("resnet18", path).endswith("not installed: pip install safetensors")


@pytest.mark.parametrize("counters", [False, True])
def test_weights_file_is_loaded_without_its_fc(tmp_path: Path, resnet_state: dict[str, Tensor], counters: bool) -> None:
    state = {key: value for key, value in resnet_state.items() if counters or not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "weights.pth")
    model = build_model("resnet18", 3, 0, str(tmp_path / "weights.pth"))
    assert backbone_equals(model, resnet_state)
    assert torch.equal(model.head.weight, build_model("resnet18", 3, 0, "none").head.weight)


def test_small_cnn_takes_a_weights_file(tmp_path: Path) -> None:
    state = build_model("small_cnn", 2, 9, "none").backbone.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    assert backbone_equals(build_model("small_cnn", 2, 0, str(tmp_path / "weights.pt")), state)


def test_weights_of_another_architecture_are_named(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save(build_model("resnet34", 2, 0, "none").backbone.state_dict(), path)
    assert "unexpected: layer1.2.conv1.weight, " in (message := refused("resnet18", path))
    assert str(path) in message
    torch.save({key: value for key, value in resnet_state.items() if not key.startswith("layer4.1.")}, path)
    missing = "missing: layer4.1.conv1.weight, layer4.1.bn1.weight, layer4.1.bn1.bias and 7 more"
    assert missing in refused("resnet18", path)
    torch.save({**resnet_state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    assert "of another shape: conv1.weight)" in refused("resnet18", path)


def test_missing_damaged_and_foreign_files_are_refused(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    assert "there is no such file" in refused("resnet18", tmp_path / "absent.pth")
    assert "there is no such file" in refused("resnet18", tmp_path)
    path = tmp_path / "weights.pth"
    torch.save(resnet_state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in refused("resnet18", path)
    path.write_bytes(b"")
    assert "damaged" in refused("resnet18", path)
    path.write_bytes(b"<html>404 not found</html>")
    assert "not a file of tensors alone" in refused("resnet18", path)
    for value in (
        [torch.zeros(1)],
        {"epoch": 3},
        {3: torch.zeros(1)},
        {"state_dict": {"conv1.weight": 1.0}},
        torch.zeros(2),
    ):
        torch.save(value, path)
        assert "found no state dict" in refused("resnet18", path)


class Malicious:
    """Copies a file when it is unpickled."""

    def __init__(self, source: Path, target: Path) -> None:
        self.paths = (str(source), str(target))

    def __reduce__(self) -> tuple:
        return shutil.copyfile, self.paths


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    attack, harm, path = Malicious(Path(__file__), tmp_path / "harm"), tmp_path / "harm", tmp_path / "weights.pth"
    torch.save({"conv1.weight": attack}, path)
    assert "could run code" in refused("resnet18", path)
    path.write_bytes(pickle.dumps({"conv1.weight": attack}, protocol=2))
    assert "could run code" in refused("resnet18", path)
    assert not harm.exists()
    pickle.loads(path.read_bytes())
    assert harm.exists(), "the attack works where it is let in, so its absence above says something"


def test_imagenet_weights_are_read_from_the_folder_that_the_error_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resnet_state: dict[str, Tensor]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise URLError("Network is unreachable")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    message = refused("resnet18", "imagenet")
    for part in (RESNET_FILE, str(folder), "--weights FILE", "--no-pretrained", "Network is unreachable"):
        assert part in message
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(resnet_state, folder / RESNET_FILE)
    assert backbone_equals(build_model("resnet18", 3, 0, "imagenet"), resnet_state)
    (folder / RESNET_FILE).write_bytes(b"half a file")
    assert str(folder) in refused("resnet18", "imagenet")


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("invalid hash value"), HTTPException("cut off")])
def test_any_failure_to_fetch_imagenet_weights_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.models.ResNet18_Weights.get_state_dict", fail)
    assert str(error) in refused("resnet18", "imagenet")


def test_small_cnn_has_no_imagenet_weights() -> None:
    assert "--no-pretrained" in refused("small_cnn", "imagenet")
