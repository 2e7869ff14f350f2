"""Batches: complete, in order, equal for any number of workers, augmented by position; transforms by hand."""

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import make_celeba, make_waterbird
from torchvision.transforms import v2

from datasets.celeba import CelebA
from datasets.digits import Digits
from datasets.images.decoding import CROP_RATIO, CROP_SCALE, FileImages, Transforms, centre, random_crop, stretch
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader, batch_bounds, default_workers, n_batches, shift_images
from datasets.waterbird import Waterbirds
from utils.errors import RunError, UserError

ROOT = Path(__file__).parent.parent
ORDER = np.array([3, 17, 3, 40, 5, 88, 61, 2, 91, 3, 4])


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    root = tmp_path_factory.mktemp("birds")
    make_waterbird(root)
    return Waterbirds.load(root, split_number=0, seed=0)


@pytest.fixture(scope="module")
def loader(birds):
    loader = Loader(birds, image_size=32, num_workers=0, pin_memory=False)
    yield loader
    loader.close()


@pytest.fixture(scope="module")
def digits():
    return Digits.load(Path("nowhere"), split_number=0, seed=0)


@pytest.fixture
def one_thread():
    """Threads that share a tiny image mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(loader, order=ORDER, batch_size=4, augment_seed=None) -> torch.Tensor:
    return torch.cat([batch["image"] for batch in loader.batches(order, batch_size, augment_seed)])


@pytest.mark.parametrize(
    "n, batch_size, sizes",
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (8, 4, [4, 4]),
        (5, 4, [5]),
        (1, 4, [1]),
        (0, 4, []),
        (3, 1, [1, 1, 1]),
        (2, 64, [2]),
    ],
)
def test_batches_drop_nothing_and_merge_a_last_single(n, batch_size, sizes):
    bounds = batch_bounds(n, batch_size)
    assert [stop - start for start, stop in bounds] == sizes
    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(n))
    assert n_batches(n, batch_size) == len(sizes)


def test_batch_contents(birds, loader):
    batches = list(loader.batches(ORDER, 5, None))
    assert [len(batch["index"]) for batch in batches] == [5, 6]
    index = torch.cat([batch["index"] for batch in batches])
    assert index.dtype == torch.int64
    assert index.tolist() == ORDER.tolist()
    assert batches[0]["image"].dtype == torch.uint8
    assert batches[0]["image"].shape == (5, 3, 32, 32)
    shown = torch.cat([batch["image"] for batch in batches])
    assert shown[0].equal(shown[2]), "row 3 twice, without augmentation"
    assert not shown[0].equal(shown[1])


def test_batch_on_its_way_out_does_not_follow_the_callers_array(loader):
    order = ORDER.copy()
    batch = next(loader.batches(order, 5, None))
    order[:] = 0
    assert batch["index"].tolist() == ORDER[:5].tolist()


def test_grey_image_decodes_as_rgb(birds, loader):
    (grey,) = images(loader, np.array([4]))
    assert grey[0].equal(grey[1])
    assert grey[0].equal(grey[2])
    (coloured,) = images(loader, np.array([5]))
    assert not coloured[0].equal(coloured[2])


def test_sample_drawn_twice_is_augmented_twice(loader):
    shown = images(loader, augment_seed=7)
    assert not shown[0].equal(shown[2])


def test_augmentation_is_a_function_of_seed_and_position(loader):
    shown = images(loader, augment_seed=7)
    assert shown.equal(images(loader, augment_seed=7))
    assert not shown.equal(images(loader, augment_seed=8))
    assert shown.equal(images(loader, batch_size=3, augment_seed=7)), "not of the batch size"
    swapped = images(loader, ORDER[::-1].copy(), augment_seed=7)
    assert swapped[5].equal(shown[5])
    assert not swapped[0].equal(shown[-1])


def test_two_workers_give_the_same_stream_pass_after_pass(birds, loader):
    with_workers = Loader(birds, image_size=32, num_workers=2, pin_memory=False)
    try:
        order = np.random.default_rng(0).integers(0, len(birds), size=41)
        for augment_seed, batch_size in ((None, 8), (3, 8), (3, 5), (4, 64)):
            expected = list(loader.batches(order, batch_size, augment_seed))
            seen = list(with_workers.batches(order, batch_size, augment_seed))
            assert len(seen) == len(expected)
            for ours, theirs in zip(seen, expected, strict=True):
                assert all(ours[name].equal(theirs[name]) for name in ours)
        processes = {process.pid for process in multiprocessing.active_children()}
        images(with_workers)
        assert {process.pid for process in multiprocessing.active_children()} == processes, "one pool for all passes"
        assert len(processes) == 2
    finally:
        with_workers.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_abandoned_pass_does_not_reach_into_the_next(birds, num_workers):
    loader = Loader(birds, image_size=32, num_workers=num_workers, pin_memory=False)
    try:
        unfinished = loader.batches(np.arange(92), 4, augment_seed=1)
        next(unfinished)
        with pytest.raises(RuntimeError, match="one pass at a time"):
            next(loader.batches(ORDER, 4, None))
        apart = loader.another()
        assert images(apart).shape == (11, 3, 32, 32)
        apart.close()
        unfinished.close()
        indices = [batch["index"] for batch in loader.batches(ORDER, 4, None)]
        assert torch.cat(indices).tolist() == ORDER.tolist()
        assert images(loader).shape == (11, 3, 32, 32)
    finally:
        loader.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_random_state_and_threads_are_undisturbed(birds, num_workers):
    loader = Loader(birds, image_size=32, num_workers=num_workers, pin_memory=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    torch.manual_seed(11)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    images(loader, augment_seed=5)
    images(loader)
    loader.close()
    threads_after = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert threads_after == threads + 1
    assert torch.get_rng_state().equal(torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("augment_seed", [None, 7])
def test_threads_share_a_batch_and_change_nothing(birds, loader, augment_seed):
    """Batches of 4, 4 and 3 between 1, 3 and 16 threads."""
    before, found = torch.get_num_threads(), []
    for threads in (1, 3, 16):
        torch.set_num_threads(threads)
        found.append(images(loader, augment_seed=augment_seed))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert [found[0].equal(other) for other in found[1:]] == [True, True]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "missing"])
def test_damaged_image_is_named(tmp_path, birds, damage, num_workers):
    shutil.copytree(birds.root, tmp_path / birds.folder)
    data = Waterbirds.load(tmp_path, split_number=0, seed=0)
    file = data.file(88)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"cut": file.read_bytes()[:300], "text": b"no image", "empty": b""}[damage])
    loader = Loader(data, image_size=32, num_workers=num_workers, pin_memory=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RunError, match=f"cannot read image {file}") as error:
            images(loader)
        assert "\n" not in str(error.value)
    finally:
        loader.close()
        torch.set_num_threads(threads)


def test_workers_ignore_signals_and_do_not_outlive_a_program_that_forgets_them(birds):
    code = f"""
import multiprocessing, os, signal, time
import numpy as np
from collections.abc import Iterator
from pathlib import Path
from datasets.loading.loaders import Loader
from datasets.waterbird import Waterbirds
data = Waterbirds.load(Path({str(birds.root.parent)!r}), 0, 0)
loader = Loader(data, 32, 2, False)
batches = loader.batches(np.arange(92), 4, 1)
next(batches), next(batches)  # one from each, which is at work then
workers = multiprocessing.active_children()
for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    for worker in workers:
        os.kill(worker.pid, name)
time.sleep(0.2)
print(sum(len(batch["index"]) for batch in batches), len(workers))
in_mid_pass = loader.batches(np.arange(92), 4, 1)
next(in_mid_pass)
raise KeyboardInterrupt
"""
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["84", "2"]
    assert run.stderr.strip().endswith("KeyboardInterrupt")
    assert time.monotonic() - start < 40


def test_workers_can_be_started_by_pickle(birds):
    source = FileImages(birds, 32)
    batch = (np.array([3, 4]), np.array([-1, 99]))
    assert pickle.loads(pickle.dumps(source)).__getitems__(batch).equal(source.__getitems__(batch))


def test_closing_twice(birds):
    loader = Loader(birds, image_size=32, num_workers=1, pin_memory=False)
    images(loader)
    loader.close()
    loader.close()
    assert not multiprocessing.active_children()


def test_absent_image_folder_is_found_before_a_run(tmp_path):
    folder = make_celeba(tmp_path)
    shutil.rmtree(folder / "img_align_celeba")
    data = CelebA.load(tmp_path, split_number=0, seed=0)
    with pytest.raises(UserError, match="image .*img_align_celeba/000001.jpg is in the labels but not on disk"):
        Loader(data, image_size=32, num_workers=0, pin_memory=False)


def test_images_in_memory(digits):
    loader = Loader(digits, image_size=32, num_workers=2, pin_memory=False)
    shown = images(loader)
    assert (shown.numpy() == digits.pixels[ORDER]).all()
    assert not multiprocessing.active_children(), "in memory needs no workers"
    shown.zero_()
    assert digits.pixels[ORDER].any(), "a batch is a copy"
    loader.close()


def test_images_in_memory_are_shifted_in_training_every_draw_apart(digits):
    loader = Loader(digits, image_size=32, num_workers=0, pin_memory=False)
    assert loader.augments
    first, again = images(loader, augment_seed=3), images(loader, augment_seed=3)
    assert first.equal(again)
    assert not first[0].equal(first[2]), "row 3 stands at positions 0 and 2"
    assert not first.equal(images(loader, augment_seed=4))


def test_images_in_memory_have_one_size(digits):
    with pytest.raises(UserError, match="--image_size 64: the images of digits are 32 x 32; use 32"):
        Loader(digits, image_size=64, num_workers=0, pin_memory=False)


def test_default_workers():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [default_workers(False, gpu, cpus) for cpus in (1, 2, 5, 64)] == [0, 1, 4, 8]
    assert default_workers(True, gpu, 64) == default_workers(False, cpu, 64) == 0


# Transforms


def ramp(height: int, width: int) -> torch.Tensor:
    """Red grows to the right, green downwards."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[0] = torch.linspace(0, 255, width)
    image[1] = torch.linspace(0, 255, height)[:, None]
    return image


def test_stretch_keeps_the_whole_image():
    view = stretch(ramp(218, 178), 64)
    assert view.shape == (3, 64, 64)
    assert view.dtype == torch.uint8
    for channel, line in ((0, view[0, 32]), (1, view[1, :, 32])):
        assert (line.int() - torch.linspace(2, 253, 64)).abs().max() <= 2, channel


def test_centre_cuts_a_square_from_the_middle():
    # 448 x 900 at size 224: shorter side to 256, then 224 of 256 down and 224 of 514 across.
    view = centre(ramp(448, 900), 224)
    assert view.shape == (3, 224, 224)
    assert view[1, 0, 0] == pytest.approx(255 * 16 / 256, abs=2)
    assert view[1, -1, 0] == pytest.approx(255 * 240 / 256, abs=2)
    assert view[0, 0, 0] == pytest.approx(255 * 145 / 514, abs=2)
    assert view[0, 0, -1] == pytest.approx(255 * 369 / 514, abs=2)


def test_centre_floors_the_shorter_side():
    # floor(33 * 256 / 224) = 37: a cut of 2 to the left and 2 to the right of 33.
    view = centre(ramp(37, 37), 33)
    assert view.equal(ramp(37, 37)[:, 2:35, 2:35])


def test_resizing_is_antialiased():
    # One of 7 columns is sampled at its very centre, so that without antialiasing the stripes stay.
    stripes = torch.zeros(3, 224, 224, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    for view in (stretch(stripes, 32), centre(stripes, 32)):
        assert (view.int() - 128).abs().max() < 20


def test_training_view_crops_within_the_published_scale_and_flips_half_the_time(one_thread):
    views = Transforms("centre", 32)
    shown = torch.stack([views.train_transform(ramp(200, 200), seed) for seed in range(300)]).float()
    flipped = shown[:, 0, 16, 0] > shown[:, 0, 16, -1]
    assert 0.4 < flipped.float().mean() < 0.6
    assert not (shown[:, 1, 0, 16] > shown[:, 1, -1, 16]).any(), "never upside down"
    across, down = shown[:, 0, 16], shown[:, 1, :, 16]
    area = (across.amax(1) - across.amin(1)) * (down.amax(1) - down.amin(1)) / 255**2
    assert 0.05 < area.min() < 0.15
    assert area.max() > 0.85
    assert area.mean() == pytest.approx(0.5, abs=0.08)


def as_decoded(height: int, width: int) -> torch.Tensor:
    """Random pixels that lie in memory as the decoder leaves them."""
    draw = torch.Generator().manual_seed(height)
    return torch.randint(256, (height, width, 3), dtype=torch.uint8, generator=draw).permute(2, 0, 1)


def uniform(draw: torch.Generator) -> Iterator[float]:
    """Numbers in [0, 1), one call of torch each."""
    while True:
        yield torch.rand((), generator=draw).item()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (218, 178), (40, 300), (300, 40), (9, 9)])
def test_training_view_is_its_crop_resized_and_flipped_as_torchvision_does(one_thread, height: int, width: int):
    image, views = as_decoded(height, width), Transforms("stretch", 32)
    flips = 0
    for seed in range(60):
        draws = uniform(torch.Generator().manual_seed(seed))
        place = random_crop(height, width, draws)
        flip = next(draws) < 0.5
        expected = v2.functional.resized_crop(image, *place, [32, 32], antialias=True)
        assert torch.equal(
            views.train_transform(image, seed), v2.functional.horizontal_flip(expected) if flip else expected
        )
        flips += flip
    assert 15 < flips < 45


@pytest.mark.parametrize(("height", "width"), [(224, 224), (218, 178), (30, 400), (400, 30)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int):
    """Two samples of 4,000: the means of place and size lie within five standard errors; long images get a fallback."""
    image, n = torch.empty(3, height, width), 4000
    draws = uniform(torch.Generator().manual_seed(0))
    ours = np.array([random_crop(height, width, draws) for _ in range(n)], dtype=float)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        theirs = [v2.RandomResizedCrop.get_params(image, CROP_SCALE, CROP_RATIO) for _ in range(n)]
    theirs = np.array(theirs, dtype=float)
    for values in (lambda x: x, lambda x: x[:, 2:] ** 2, lambda x: (x[:, 2] / x[:, 3])[:, None]):
        mine, other = values(ours), values(theirs)
        error = np.sqrt((mine.var(axis=0) + other.var(axis=0)) / n)
        assert (np.abs(mine.mean(axis=0) - other.mean(axis=0)) <= 5 * error).all()
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    assert ours[:, 2].max() > 0.9 * min(height, width)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (218, 178), (40, 301), (300, 41), (32, 32), (36, 50)])
def test_evaluation_views_are_torchvisions_to_the_last_bit(one_thread, height: int, width: int):
    image = as_decoded(height, width)
    for size in (32, 33, 224):
        assert torch.equal(stretch(image, size), v2.functional.resize(image, [size, size], antialias=True))
        shorter = v2.functional.resize(image, [size * 256 // 224], antialias=True)
        assert torch.equal(centre(image, size), v2.functional.center_crop(shorter, [size, size]))


def test_batches_are_channels_last(birds):
    files = FileImages(birds, 32)
    for seeds in (np.full(4, -1), np.arange(4)):
        assert files.__getitems__((np.arange(4), seeds)).is_contiguous(memory_format=torch.channels_last)


def test_training_view_is_a_function_of_its_seed():
    views = Transforms("stretch", 16)
    first, again, other = (views.train_transform(ramp(40, 50), seed) for seed in (4, 4, 5))
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise(memory_format):
    batch = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).to(torch.uint8)
    batch[0, 0, 0, 0], batch[0, 0, 0, 1] = 0, 255
    before = batch.clone()
    normalised = normalise(batch, memory_format)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=memory_format)
    assert normalised.equal(((batch.float() / 255) - 0.5) / 0.5)
    assert normalised.min() == -1
    assert normalised.max() == 1
    assert batch.equal(before)


def test_memory_training_view_shifts_by_the_seed_and_mirrors_the_border():
    image = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6).repeat(3, axis=1)
    n_shifts = 5
    for seed, down, right in ((0, 0, 0), (4, 4, 0), (12, 2, 2), (n_shifts * 3 + 1, 1, 3), (n_shifts**2 + 7, 2, 1)):
        padded = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
        expected = padded[:, :, down : down + 6, right : right + 6]
        np.testing.assert_array_equal(shift_images(image, np.array([seed]), max_shift=2), expected)
    np.testing.assert_array_equal(shift_images(image, np.array([12]), max_shift=2), image)
