"""--mean, --std and --view: what they are, that every path applies them, and that runs of others are told apart."""

from pathlib import Path

import pytest
import tiny
import torch
from cli import configuration, refused
from tiny import CPU, SIZE, batch_of, tiny_data, trained_network
from torchvision.transforms import Compose, ConvertImageDtype, Normalize

from datasets.images.normalisation import PUBLISHED, Pixels, normalise
from datasets.loading.loaders import Loader
from method.configs.loading import resolve
from method.registry import METHODS
from method.runs.data import read_data
from method.runs.signature import signature
from method.runs.starting import pixels_of
from method.training.checkpoints import read_weights, save_model
from method.training.inference import Inference
from method.training.original import Original
from utils.errors import UserError

IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TYPED = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [5, 300])  # of an image, and of one that is larger than what is done at once
def test_normalised_as_torchvision_does_to_the_last_bit(memory_format: torch.memory_format, side: int):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 3, side, side), dtype=torch.uint8, generator=draw)
    images = images.contiguous(memory_format=memory_format)
    theirs = Compose([ConvertImageDtype(torch.float32), Normalize(*IMAGENET)])
    ours = normalise(images, memory_format, IMAGENET)
    assert ours.equal(theirs(images))
    assert ours.is_contiguous(memory_format=memory_format)
    assert normalise(images, memory_format).equal(normalise(images, memory_format, Pixels()))


def test_the_range_of_normalised_pixels_by_channel():
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    dark, bright = normalise(ends, pixels=IMAGENET).flatten(1)
    torch.testing.assert_close(dark, torch.tensor(IMAGENET.darkest))
    torch.testing.assert_close(bright, torch.tensor(IMAGENET.brightest))
    assert (PUBLISHED.darkest, PUBLISHED.brightest) == ((-1.0,) * 3, (1.0,) * 3)


def test_texts_and_numbers():
    assert Pixels.read(**TYPED) == IMAGENET
    assert IMAGENET.spell() == TYPED
    assert Pixels.read("0.5", "0.25") == Pixels((0.5,) * 3, (0.25,) * 3)
    assert Pixels.read("0.5", "0.25").spell() == {"mean": "0.5", "std": "0.25"}


@pytest.mark.parametrize("line", ["[0.5, 0.5, 0.5]", "0.5", "'0.50'", "'0.5, .5,5e-1'"])
def test_one_way_to_write_what_is_the_same(tmp_path: Path, line: str):
    (file := tmp_path / "mine.yaml").write_text(f"mean: {line}\n")
    assert resolve({"method": "pretrain"}, file).mean == "0.5"


@pytest.mark.parametrize("typed", ["123", "0.5,0.5", "a", "nan", "0.1,0.2,", "-0.1", "0.1,0.2,0.3,0.4"])
def test_what_is_no_such_number_is_refused(typed: str):
    assert "each at least 0 and at most 1" in refused(f"--method pretrain --mean={typed}")


def test_a_standard_deviation_is_above_0():
    assert "at least 1e-06 and at most 1" in refused("--method pretrain --std 0.2,0,0.2")


@pytest.mark.parametrize(
    "flags, same",
    [
        ("--mean 0.5 --std 0.5", True),
        ("--view centre", True),
        ("--mean 0.4", False),
        ("--view stretch", False),
        # timm's weights bring their own, which are not known before timm is imported.
        ("--model timm/resnet18 --mean 0.5", False),
    ],
)
def test_an_identity_holds_what_departs_from_the_default(flags: str, same: bool):
    command = "--method pretrain --dataset waterbird"
    plain = configuration(f"{command} {'--model timm/resnet18' if 'timm' in flags else ''}").identity()
    assert (configuration(f"{command} {flags}").identity() == plain) is same
    assert {plain["mean"], plain["std"], plain["view"]} == {None}


def test_what_is_used_follows_from_flags_and_weights():
    command = "--method pretrain --dataset waterbird"
    assert pixels_of(configuration(command)) == PUBLISHED
    assert pixels_of(configuration(f"{command} --model timm/resnet18")) == IMAGENET
    assert pixels_of(configuration(f"{command} --model timm/resnet18 --no-pretrained")) == PUBLISHED
    mixed = pixels_of(configuration(f"{command} --model timm/resnet18 --mean 0.5"))
    assert mixed == Pixels(PUBLISHED.mean, IMAGENET.std)


def test_every_forward_pass_has_them():
    data, inference = tiny_data(), Inference(Loader(tiny_data(), SIZE, 0, False), CPU, torch.float32, IMAGENET)
    rows, model = torch.arange(5).numpy(), trained_network()
    expected = normalise(torch.from_numpy(data.pixels[rows]), pixels=IMAGENET)
    assert inference.image(torch.from_numpy(data.pixels[rows])).equal(expected)
    assert inference.apply(model, lambda image: image, rows, "images").equal(expected)
    assert inference.apart(model, lambda image: image, rows, "images").equal(expected)
    original = Original(trained_network(), inference, rows)
    torch.testing.assert_close(original.logits(batch_of(rows)), model(expected).detach())


def test_boundary_shrink_steps_within_the_range_of_its_pixels():
    """By a share of the range of each channel, and not beyond black and white."""
    seen: list[torch.Tensor] = []
    facts = {"darkest": IMAGENET.darkest, "brightest": IMAGENET.brightest}
    unlearner = tiny.build(METHODS["boundary_shrink"], facts=facts, epsilon=0.1)
    unlearner.original.module.register_forward_pre_hook(lambda _, images: seen.append(images[0].detach()))
    image = normalise(torch.from_numpy(tiny_data().pixels[:6]), pixels=IMAGENET)
    unlearner.nearest_class(batch_of(range(6), image=image))
    before, after = seen
    moved, std = (after - before).abs(), torch.tensor(IMAGENET.std).view(-1, 1, 1)
    inside = (moved - 0.1 / std).abs() < 1e-5
    low, high = (torch.tensor(ends).view(-1, 1, 1) for ends in (IMAGENET.darkest, IMAGENET.brightest))
    assert (inside | (after == low) | (after == high) | (moved == 0)).all()
    assert inside.float().mean() > 0.5
    assert (after >= low).all()
    assert (after <= high).all()


def test_the_view_is_that_of_the_flag(data_dir: Path):
    command = f"--method pretrain --dataset fairface --data_dir {data_dir}"
    assert read_data(configuration(command)).dataset.view == "centre"
    stretched = read_data(configuration(f"{command} --view stretch")).dataset
    assert stretched.view == stretched.without([0]).view == "stretch"
    plain = read_data(configuration(command)).dataset
    views = [Loader(one, 32, 0, False).batches(torch.arange(2).numpy(), 2, None) for one in (plain, stretched)]
    first, second = (next(view)["image"] for view in views)
    assert first.shape == second.shape
    assert not first.equal(second)
    assert "--view is a key of celeba, custom, fairface, waterbird, not of digits" in refused(
        "--method pretrain --view centre"
    )


def test_models_of_earlier_versions_have_the_default(tmp_path: Path):
    file, earlier = tmp_path / "model.pt", {"mean": "0.5", "std": "0.5", "view": "centre", "head": None}
    save_model(file, trained_network(), {"seed": 0}, {})
    assert read_weights(file, {"seed": 0, **earlier}, earlier=earlier)
    for name, value in {**TYPED, "view": "stretch", "head": "keep"}.items():
        with pytest.raises(UserError, match=f"no --{name}, or" if name == "head" else f"give --{name} {earlier[name]}"):
            read_weights(file, {"seed": 0, **earlier, name: value}, earlier=earlier)


def test_a_half_finished_run_goes_on_with_the_pixels_that_it_began_with():
    begun = {"pixels": TYPED}
    assert signature(begun) != signature({})
    assert signature({"pixels": {"mean": "0.5", "std": "0.5"}}) == signature({})
