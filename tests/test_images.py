"""What an image is: uint8 (3, H, W), one picture, right side up where that is asked for; or a reason why not."""

import hashlib
import io
import os
import random
import struct
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from cli import ok, refused
from folders import make_custom, make_waterbird
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torchvision.io import ImageReadMode, decode_image

from datasets.custom import Custom
from datasets.images import decoding as images
from datasets.images import files as image_files
from datasets.images.cache import disk_cache, ram_cache
from datasets.images.decoding import read_image, turn_upright
from datasets.images.files import ImageRecord, Room, image_digest, image_record, images_state
from datasets.images.headers import MOST_PIXELS, Header, read_header
from datasets.images.types import UnreadableImage
from datasets.images.verification import bad_images, count_turned_images
from datasets.loading.loaders import Loader
from datasets.waterbird import Waterbirds
from utils.errors import RunError

SMALL = "--model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
SIX = PICTURE.rotate(180)


def encoded(picture: Image.Image, kind: str, orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    picture.save(out, kind, **options, **({"exif": exif.tobytes()} if orientation > 1 else {}))
    return out.getvalue()


def png(width: int, height: int, bits: int, colours: int, rows: bytes) -> bytes:
    """A PNG that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read(content: bytes, folder: Path, upright: bool = False) -> torch.Tensor | str:
    """The image, or the reason."""
    (folder / "image.jpg").write_bytes(content)
    found = read_image(str(folder / "image.jpg"), upright)
    return found.reason if isinstance(found, UnreadableImage) else found


READABLE = {
    "jpeg": encoded(PICTURE, "JPEG"),
    "progressive jpeg": encoded(PICTURE, "JPEG", progressive=True),
    "grey jpeg": encoded(PICTURE.convert("L"), "JPEG"),
    "cmyk jpeg": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "png": encoded(PICTURE, "PNG"),
    "png with alpha": encoded(PICTURE.convert("RGBA"), "PNG"),
    "grey png": encoded(PICTURE.convert("L"), "PNG"),
    "grey png with alpha": encoded(PICTURE.convert("LA"), "PNG"),
    "png of one bit": encoded(PICTURE.convert("1"), "PNG"),
    "png with a palette": encoded(PICTURE.quantize(8), "PNG"),
    "png with a palette and alpha": encoded(PICTURE.quantize(8), "PNG", transparency=bytes(range(8))),
    "gif": encoded(PICTURE, "GIF"),
    "webp": encoded(PICTURE, "WEBP", lossless=True),
    "webp of photos": encoded(PICTURE, "WEBP"),
    "turned jpeg": encoded(PICTURE, "JPEG", 6),
}
UNREADABLE = {
    "empty": (b"", "it is empty"),
    "16 bits, grey": (
        encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 99), "PNG"),
        "it has 16 bits a channel",
    ),
    "16 bits, colours": (png(5, 6, 16, 2, 6 * (b"\0" + bytes(30))), "it has 16 bits a channel, expected 8; convert it"),
    "moving gif": (
        encoded(PICTURE, "GIF", save_all=True, append_images=[SIX, PICTURE]),
        "it is an animation of 3 frames, expected one picture",
    ),
    "moving webp": (encoded(PICTURE, "WEBP", save_all=True, append_images=[SIX]), "it is an animation of 2 frames"),
    "moving png": (encoded(PICTURE, "PNG", save_all=True, append_images=[SIX]), "it is an animation of 2 frames"),
    "no height": (png(5, 0, 8, 2, b""), ""),
    "gif of nothing": (b"GIF89a" + bytes(7) + b";", ""),
    "bmp": (encoded(PICTURE, "BMP"), "it is no JPEG, PNG, GIF or WebP file"),
    "half a png": (encoded(PICTURE, "PNG")[:60], ""),
    "half a gif": (encoded(PICTURE, "GIF")[:60], ""),
    "half a webp": (encoded(PICTURE, "WEBP", lossless=True)[:60], ""),
    "a jpeg that ends in its header": (encoded(PICTURE, "JPEG")[:80], "its header is damaged or cut off"),
    "three bytes": (b"\xff\xd8\xff", "its header is damaged or cut off"),
    "signature of a png": (b"\x89PNG\r\n\x1a\n", "its header is damaged or cut off"),
    "png bomb": (png(30_000, 30_000, 1, 0, bytes(3751)), "it has 30000 x 30000 pixels, expected at most 178,956,970"),
    "gif bomb": (b"GIF89a" + struct.pack("<HH", 30_000, 30_000) + b"\0\0\0;", "it has 30000 x 30000 pixels"),
    "gif bomb within a small one": (
        b"GIF89a\5\0\5\0\0\0\0," + struct.pack("<HHHH", 0, 0, 30_000, 30_000) + b"\0\2\0;",
        "it has 30000 x 30000 pixels",
    ),
    "webp bomb": (
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (2 * (29_999).to_bytes(3, "little")),
        "it has 30000 x 30000 pixels",
    ),
    "jpeg bomb": (
        b"\xff\xd8\xff\xe0\0\4ab\xff\xff\xc0\0\x11\x08" + struct.pack(">HH", 30_000, 30_000) + bytes(20),
        "it has 30000 x 30000 pixels",
    ),
}


@pytest.mark.parametrize("name", READABLE)
def test_pixels_are_torchvisions_and_pils(name: str, tmp_path: Path):
    """Also where another library decodes: PNGs, and what may come after torchvision's decoder."""
    found = read(READABLE[name], tmp_path)
    content = torch.frombuffer(bytearray(READABLE[name]), dtype=torch.uint8)
    assert torch.equal(found, decode_image(content, ImageReadMode.RGB))
    picture = Image.open(io.BytesIO(READABLE[name]))
    by_pil = np.array(picture.convert("RGBA" if "palette and alpha" in name else "RGB"))[..., :3]
    assert torch.equal(found, torch.from_numpy(by_pil).permute(2, 0, 1))
    assert found.permute(1, 2, 0).is_contiguous()
    assert read_header(READABLE[name])[:3] == (5, 6, 1)


@pytest.mark.parametrize("name", READABLE)
def test_torchcodec_is_ready_to_take_over(name: str):
    """It turns images as EXIF says; `turned` by the opposite gives them as stored."""
    decoders = pytest.importorskip("torchcodec.decoders")
    found = decoders.decode_image(READABLE[name])
    found = turn_upright(found, {6: 8, 8: 6}.get(orientation := read_header(READABLE[name]).orientation, orientation))
    assert torch.equal(found, images._pixels(READABLE[name]))


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_none_has_a_reason_everywhere(name: str, tmp_path: Path):
    """The reader, the check, both caches and the batches of a run agree."""
    content, reason = UNREADABLE[name]
    found = read(content, tmp_path)
    assert isinstance(found, str)
    assert found.startswith(reason)
    make_waterbird(tmp_path)
    birds = Waterbirds.load(tmp_path, 0, 0)
    birds.file(7).write_bytes(content)
    assert [(bad.row, bad.reason) for bad in bad_images(birds, tmp_path / "verified.json")] == [(7, found)]
    for cache in (ram_cache(birds), disk_cache(birds, tmp_path / "store"), None):
        assert cache is None or cache.missing(np.arange(92)).tolist() == [7]
        with pytest.raises(RunError) as error:
            list(Loader(birds, 32, 0, False, cache).batches(np.arange(12), 4, None))
        assert str(error.value) == f"cannot read image {birds.file(7)} ({found}): put an intact copy there"


@pytest.mark.parametrize("name", [name for name in UNREADABLE if "bomb" in name])
def test_a_bomb_is_not_decoded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "_pixels", None)
    assert "pixels, expected at most" in read(UNREADABLE[name][0], tmp_path)
    assert len(UNREADABLE[name][0]) < 10_000


def test_as_many_pixels_as_there_may_be():
    assert images._refusal(Header(MOST_PIXELS, 1)) is None
    assert images._refusal(Header(MOST_PIXELS + 1, 1)) is not None


def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    reasons = {path: read_image(str(path)).reason for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"))}
    assert [reasons[path].split(",")[0] for path in reasons] == [
        "it is a named pipe",
        "it is a folder",
        "it is a device",
    ]
    assert read_image("a\0b").reason == "embedded null byte"
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**40)
    assert read_image(str(tmp_path / "sparse.jpg")).reason == "it is larger than 512 MiB"


def test_damage_anywhere_is_an_image_or_a_reason(tmp_path: Path):
    """Never the end of the process; and the size in the header is the one that is decoded."""
    draw = random.Random(0)
    decoded = 0
    for _ in range(600):
        content = bytearray(draw.choice(list(READABLE.values())))
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        found = read(bytes(content), tmp_path)
        if isinstance(found, torch.Tensor):
            header = read_header(bytes(content))
            assert found.shape == (3, header.height, header.width)
            decoded += 1
    assert 50 < decoded < 550


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_turned_photo_stands_upright_where_that_is_asked_for(kind: str, orientation: int, tmp_path: Path):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(PICTURE, kind, orientation, **options)
    plain = Image.open(io.BytesIO(content))
    for upright, expected in ((False, plain), (True, ImageOps.exif_transpose(plain))):
        found = read(content, tmp_path, upright)
        assert torch.equal(found.permute(1, 2, 0), torch.from_numpy(np.array(expected.convert("RGB"))))
        assert found.permute(1, 2, 0).is_contiguous()
    assert read_header(content).orientation == orientation


def test_every_turn_of_a_known_image():
    """Rows ab, cd: the eight ways that EXIF 2.32 draws."""
    image = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(3, 2, 2)
    found = [
        "".join("abcd"[value - 1] for value in turn_upright(image, way)[0].flatten().tolist()) for way in range(1, 9)
    ]
    assert found == ["abcd", "badc", "dcba", "cdab", "acbd", "cadb", "dbca", "bdac"]


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("value, read_as", [(6, 6), (0, 1), (9, 1)])
def test_exif_of_either_byte_order_behind_other_parts(order: str, value: int, read_as: int):
    number = {"big": ">", "little": "<"}[order]
    entries = struct.pack(f"{number}HHHIHH", 2, 0x010F, 3, 1, 7, 0) + struct.pack(
        f"{number}HHIHH", 0x0112, 3, 1, value, 0
    )
    tiff = {"big": b"MM", "little": b"II"}[order] + struct.pack(f"{number}HI", 42, 8) + entries
    xmp, exif = b"http://ns.adobe.com/xap/1.0/\0<x/>", b"Exif\0\0" + tiff
    parts = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in (xmp, exif))
    content = READABLE["jpeg"]
    assert read_header(content[:2] + parts + content[2:]).orientation == read_as


# Custom data are read upright, the published sets as they are published.


@pytest.fixture
def photos(tmp_path: Path) -> Custom:
    """Custom images, three of them turned by EXIF."""
    folder = make_custom(tmp_path / "data")
    data = Custom.load(folder, 0, 0)
    for row, orientation in ((2, 6), (5, 3), (40, 8)):
        data.file(row).write_bytes(encoded(Image.open(data.file(row)), "JPEG", orientation))
    return data


def test_custom_photos_are_upright_in_batches_and_caches(photos: Custom, tmp_path: Path):
    order = np.array([2, 3, 5, 40])
    expected = [batch["image"] for batch in Loader(photos, 32, 0, False).batches(order, 4, 1)]
    for cache in (ram_cache(photos), disk_cache(photos, tmp_path / "store")):
        assert torch.equal(cache.image(2), read_image(str(photos.file(2)), upright=True))
        assert tuple(cache.image(2).shape) == (3, 40, 44)
        found = [batch["image"] for batch in Loader(photos, 32, 0, False, cache).batches(order, 4, 1)]
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not Waterbirds.upright


def test_what_is_read_otherwise_has_another_state(photos: Custom, monkeypatch: pytest.MonkeyPatch):
    """So that a cache made as published is not taken for an upright one."""
    record = image_record(photos)
    upright = images_state(photos, record)
    monkeypatch.setattr(Custom, "upright", False)
    assert images_state(photos, record) != upright


def test_turned_images_are_counted_once(photos: Custom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = tmp_path / "store" / "verified.json"
    assert count_turned_images(photos, memory) == 3
    assert bad_images(photos, memory) == []
    monkeypatch.setattr("datasets.images.verification._is_turned", None)
    assert count_turned_images(photos, memory) == 3
    monkeypatch.undo()
    photos.file(2).write_bytes(photos.file(3).read_bytes())
    assert count_turned_images(photos, memory) == 2
    photos.file(5).unlink()
    assert count_turned_images(photos, memory) == 1
    make_waterbird(tmp_path)
    birds = Waterbirds.load(tmp_path, 0, 0)
    birds.file(0).write_bytes(encoded(PICTURE, "JPEG", 6))
    assert count_turned_images(birds, memory) == 0


# What is known of the files.


def test_the_record_tells_sizes_from_times(photos: Custom):
    before = image_record(photos)
    assert asdict(before).keys() == {"n", "sizes", "times"}
    assert (before.n, len(before.sizes), len(before.times)) == (56, 64, 64)
    assert image_record(photos) == before
    file, stat = photos.file(9), photos.file(9).stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = image_record(photos)
    assert touched.sizes == before.sizes
    assert touched.times != before.times
    file.write_bytes(file.read_bytes() + b"x")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    longer = image_record(photos)
    assert longer.sizes != before.sizes
    assert longer.times == before.times
    file.unlink()
    assert len({before, touched, longer, image_record(photos)}) == 4
    assert image_record(photos.without([9])) == ImageRecord(55, *_digests(photos.without([9])))


def _digests(data: Custom) -> tuple[str, str]:
    """Anew, from what the record is said to be."""
    names = [f"{len(path)}:{path}" for path in data.paths(slice(None))]
    stats = [os.stat(data.file(row)) for row in range(len(data))]
    sizes = "".join(f"{name},{stat.st_size};" for name, stat in zip(names, stats, strict=True))
    times = "".join(f"{name},{stat.st_mtime_ns};" for name, stat in zip(names, stats, strict=True))
    return hashlib.sha256(sizes.encode()).hexdigest(), hashlib.sha256(times.encode()).hexdigest()


def test_the_digest_is_of_content_alone(photos: Custom):
    before = image_digest(photos)
    stat = photos.file(9).stat()
    content = bytearray(photos.file(9).read_bytes())
    os.utime(photos.file(9), ns=(0, 0))
    assert image_digest(photos) == before
    content[-20] ^= 1
    photos.file(9).write_bytes(content)
    os.utime(photos.file(9), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = image_digest(photos)
    assert changed != before
    photos.file(9).unlink()
    assert len({before, changed, image_digest(photos)}) == 3


# Memory.


def test_images_are_in_memory_within_the_room_alone(photos: Custom, monkeypatch: pytest.MonkeyPatch):
    """As many bytes at a time whatever the CPUs; an image larger than the room comes alone."""
    held, most = [], []
    real = Room.taken

    def taken(room: Room, wanted: int):
        context = real(room, wanted)
        enter, leave = context.__enter__, context.__exit__

        class Watched:
            def __enter__(self) -> None:
                enter()
                held.append(wanted)
                most.append(sum(held))

            def __exit__(self, *error: object) -> None:
                held.remove(wanted)
                leave(*error)

        return Watched()

    monkeypatch.setattr(Room, "taken", taken)
    monkeypatch.setattr(image_files, "available_cpus", lambda: 16)
    monkeypatch.setattr(image_files, "CHUNK", 4)
    size = images.open_image(str(photos.file(0))).size
    assert size >= 3 * 40 * 44
    monkeypatch.setattr(image_files, "ROOM", 3 * size)
    assert bad_images(photos, photos.root / "verified.json") == []
    ram_cache(photos)
    assert len(most) == 2 * 56 + 56  # and those that the size of all is estimated from
    assert max(most) <= 3.2 * size
    monkeypatch.setattr(image_files, "ROOM", size // 2)
    photos.file(1).write_bytes(photos.file(1).read_bytes() + b"\0")
    most.clear()
    assert bad_images(photos, photos.root / "verified.json") == []
    assert max(most) <= 1.1 * size


def test_how_much_room_decoding_takes(tmp_path: Path):
    names = ("jpeg", "progressive jpeg", "png")
    for name in names:
        (tmp_path / name).write_bytes(READABLE[name])
    sizes = [images.open_image(str(tmp_path / name)).size - len(READABLE[name]) for name in names]
    assert sizes == [3 * 30, 9 * 30, 14 * 30]


def test_a_run_names_the_image_and_what_it_is(tmp_path: Path):
    folder = make_custom(tmp_path / "data")
    (folder / "faces/3.jpg").write_bytes(UNREADABLE["moving gif"][0])
    flags = {"data_dir": folder, "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    told = refused(f"--method pretrain --dataset custom {SMALL}", **flags)
    assert "faces/3.jpg (it is an animation of 3 frames, expected one picture); put an intact copy there" in told
    ok(f"--method pretrain --dataset custom --skip_bad_images {SMALL}", **flags)


# PNGs: what decides a pixel is compared with its checksum, and nothing else is.


def png(path: Path, **options: object) -> bytes:
    pixels = np.random.RandomState(0).randint(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path.read_bytes()


def test_no_flipped_bit_of_a_png_gives_other_pixels(tmp_path: Path):
    whole = png(tmp_path / "a.png")
    good = read_image(str(tmp_path / "a.png"))
    for place in range(8, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "a.png").write_bytes(damaged)
        found = read_image(str(tmp_path / "a.png"))
        assert isinstance(found, UnreadableImage) or torch.equal(found, good)


def test_a_text_in_a_png_decides_nothing(tmp_path: Path):
    """However long, and whatever its checksum."""
    plain = tmp_path / "plain.png"
    png(plain)
    info = PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=True)
    info.add_text("short", "y")
    content = bytearray(png(tmp_path / "text.png", pnginfo=info))
    content[content.index(b"tEXt") + 10] ^= 1
    (tmp_path / "text.png").write_bytes(content)
    assert torch.equal(read_image(str(tmp_path / "text.png")), read_image(str(plain)))


@pytest.mark.parametrize("left", [-1, -12, -13, -30])
def test_a_png_that_is_cut_off_is_no_image(left: int, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(tmp_path / "a.png")[:left])
    assert isinstance(read_image(str(tmp_path / "a.png")), UnreadableImage)
