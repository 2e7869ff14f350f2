"""Pack the project for a machine without network: bash scripts/pack_for_gpu.sh [--help]."""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from made_up import fairface_cut

from scripts.acceptance import ROOT
from scripts.acceptance.machine import PACKED, commit
from scripts.acceptance.options import given_path
from utils.errors import UserError
from utils.terminal import say, set_up

COMMAND = "bash scripts/pack_for_gpu.sh"
NAME = "group-robust-unlearning"  # the folder that the archive makes
MOST = 60 * 10**6
N_FACES, SHARE_OF_TEST = 4000, 5
Sizes = dict[str, int]


def pack(out: Path, data_dir: Path | None, n_faces: int, weights: list[Path], wheels: Path | None) -> Sizes:
    """Write the archive; returns bytes, before packing, of each kind of content. UserError where it gets too large."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, NAME)
        sizes = {"the project's files": copied_project(place)}
        if data_dir is not None:
            sizes[f"{n_faces:,} faces"] = copied_faces(data_dir, n_faces, place / "data")
        for file in weights:
            sizes[f"weights, {file.name}"] = copied([file], place / "weights")
        if wheels is not None:
            sizes["wheels"] = copied(sorted(wheels.glob("*.whl")), place / "wheels")
        packed = Path(folder, out.name)
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(place, NAME)
        size = packed.stat().st_size
        if size > MOST:
            raise UserError(
                f"the archive would have {megabytes(size)}, and {megabytes(MOST)} are the most: {told(sizes)}"
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(packed, out)
    return sizes


def copied_project(place: Path) -> int:
    """The files that git tracks as they are now, and the commit; their bytes."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        raise UserError(f"{ROOT} is no git clone, so nobody knows which files are the project's; pack from a clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    (place / PACKED).write_text(f"{commit()}\n")
    return bytes_in(place)


def copied_faces(data_dir: Path, n: int, place: Path) -> int:
    """The first rows of FairFace with their images, one in five for the test set; their bytes."""
    if not (data_dir / "fairface").is_dir():
        raise UserError(f"--data_dir {data_dir}: no fairface/ there; give the folder that holds it")
    n_test = n // SHARE_OF_TEST
    fairface_cut(data_dir, place, n - n_test, n_test)
    for labels in sorted((place / "fairface").glob("*.csv")):
        names = [row.split(",")[0] for row in labels.read_text().splitlines()[1:]]
        whole = place / "fairface" / names[0].split("/")[0]
        source = whole.resolve()
        whole.unlink()  # a link to all of them
        whole.mkdir()
        images = [source / Path(name).name for name in names]
        for image in filter(Path.is_file, images):  # of rows that nobody reads there may be none
            shutil.copy2(image, whole)
    return bytes_in(place)


def copied(files: list[Path], place: Path) -> int:
    """Copies in `place`; their bytes. UserError where there is none, or one is absent."""
    absent = [file for file in files if not file.is_file()]
    if absent or not files:
        raise UserError(f"{absent[0] if absent else 'the folder of --wheels'}: no file to pack there")
    place.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy2(file, place)
    return sum(file.stat().st_size for file in files)


def bytes_in(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def megabytes(size: int) -> str:
    """A number of bytes in MB, with one decimal."""
    return f"{size / 10**6:.1f} MB"


def told(sizes: Sizes) -> str:
    """Kinds of content with their sizes, the largest first."""
    return ", ".join(f"{name} {megabytes(size)}" for name, size in sorted(sizes.items(), key=lambda one: -one[1]))


def main(arguments: list[str]) -> int:
    """Pack, and say how to unpack and run."""
    set_up()
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.split(":")[0], allow_abbrev=False)
    parser.add_argument(
        "--data_dir", type=given_path, help="a folder with fairface/, of which the first rows are packed"
    )
    parser.add_argument("--faces", type=int, default=N_FACES, help=f"how many (default: {N_FACES})")
    parser.add_argument(
        "--weights", type=given_path, nargs="+", default=[], metavar="FILE", help="state dicts to pack too"
    )
    parser.add_argument(
        "--wheels", type=given_path, metavar="FOLDER", help="packages to pack too, as pip download made them"
    )
    parser.add_argument("--out", type=given_path, default=ROOT / f"output/{NAME}.tar.gz", help="default: output/")
    wanted = parser.parse_args(arguments)
    if wanted.faces < 2 * SHARE_OF_TEST:
        parser.error(f"--faces {wanted.faces}: give at least {2 * SHARE_OF_TEST}")
    try:
        sizes = pack(wanted.out, wanted.data_dir, wanted.faces, wanted.weights, wanted.wheels)
    except UserError as error:
        say(f"error: {error}")
        return 2
    say(f"{wanted.out}: {megabytes(wanted.out.stat().st_size)} of {told(sizes)}", sys.stdout)
    data = " --data_dir data" if wanted.data_dir else ""
    install = "python3 -m pip install --no-index wheels/*.whl && " if wanted.wheels else ""
    run = f"tar xzf {wanted.out.name} && cd {NAME} && {install}bash scripts/accept_gpu.sh{data}"
    say(f"there: {run}", sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
