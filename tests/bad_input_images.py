"""Bad input: images."""

from pathlib import Path

from bad_input import SMALL, Place, case

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
