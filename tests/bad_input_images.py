"""Bad input: images."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from bad_input import SMALL, Place, case
from PIL import Image

# Images.


def damaged(place: Place, *rows: int) -> list[Path]:
    """Images cut in the middle."""
    files = [place.own_data() / f"{row + 1:03d}.Species/Bird_{row + 1:04d}.jpg" for row in rows[:1]]
    files += [files[0].parents[1] / f"{row + 1:03d}.Species/Bird_{row + 1:04d}.jpg" for row in rows[1:]]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return files


@case("a truncated image")
def _(place: Place) -> str:
    damaged(place, 6)
    return f"--method pretrain {SMALL}"


@case("a text file in place of an image")
def _(place: Place) -> str:
    damaged(place, 6)[0].write_text("404: no such file")
    return f"--method pretrain {SMALL}"


@case("an image that is missing")
def _(place: Place) -> str:
    damaged(place, 6)[0].unlink()
    return f"--method pretrain {SMALL}"


@case("several images that cannot be read")
def _(place: Place) -> str:
    damaged(place, 3, 70)[1].unlink()
    return f"--method pretrain {SMALL}"


@case("no image at all")
def _(place: Place) -> str:
    for file in place.own_data().rglob("*.jpg"):
        file.unlink()
    return f"--method pretrain {SMALL}"


@case("a truncated image that nobody checked")
def _(place: Place) -> str:
    damaged(place, 6)
    return f"--method pretrain {SMALL} --no-verify_data"


def in_place_of_one(place: Place) -> Path:
    """The file of row 6."""
    return place.own_data() / "007.Species/Bird_0007.jpg"


@case("a PNG with a flipped bit")
def _(place: Place) -> str:
    file = in_place_of_one(place)
    Image.open(file).save(file, "PNG")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 64
    file.write_bytes(content)
    return f"--method pretrain {SMALL}"


@case("a PNG of 16 bits a channel")
def _(place: Place) -> str:
    Image.fromarray(np.full((40, 40), 999, dtype=np.uint16)).save(in_place_of_one(place), "PNG")
    return f"--method pretrain {SMALL}"


@case("a PNG of 16 bits a channel for a cache")
def _(place: Place) -> str:
    Image.fromarray(np.full((40, 40), 999, dtype=np.uint16)).save(in_place_of_one(place), "PNG")
    return f"--method pretrain --cache ram {SMALL}"


@case("an animation called .jpg")
def _(place: Place) -> str:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    frames[0].save(in_place_of_one(place), "GIF", save_all=True, append_images=frames[1:])
    return f"--method pretrain {SMALL}"


@case("an image of a few kB that would take gigabytes")
def _(place: Place) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b"")
    in_place_of_one(place).write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return f"--method pretrain {SMALL}"


@case("an empty image")
def _(place: Place) -> str:
    in_place_of_one(place).write_bytes(b"")
    return f"--method pretrain {SMALL}"


@case("a named pipe in place of an image")
def _(place: Place) -> str:
    file = in_place_of_one(place)
    file.unlink()
    os.mkfifo(file)
    return f"--method pretrain {SMALL}"


@case("an image with another extension")
def _(place: Place) -> str:
    file = in_place_of_one(place)
    file.rename(file.with_suffix(".JPEG"))
    return f"--method pretrain {SMALL}"


@case("images a folder too deep")
def _(place: Place) -> str:
    folder = place.own_data()
    inner = folder / folder.name
    inner.mkdir()
    for one in folder.glob("*.Species"):
        one.rename(inner / one.name)
    return f"--method pretrain {SMALL}"
