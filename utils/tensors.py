"""Tensors from files that nobody vouches for: nothing is run, and nothing grows beyond the file."""

import os
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from utils import sealed
from utils.files import write_atomic

SAFETENSORS = ".safetensors"  # how a file ends that torch.load cannot read


def save_sealed(path: Path, content: dict[str, Any], run: dict[str, Any]) -> None:
    """Write tensors and plain values atomically, with the `run` that they are of and a checksum."""

    def write(file: IO[bytes]) -> None:
        torch.save(content, file)
        sealed.seal(file, run)

    write_atomic(path, write)


def load_tensors(file: IO[bytes], device: torch.device | str = "cpu") -> Any:
    """What torch.save wrote into `file`, tensors and plain values alone.

    ValueError for an archive that is larger inside than outside; torch raises nearly anything on damaged bytes.
    """
    if zipfile.is_zipfile(file):
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        # torch compresses nothing; an archive that does can hold any number of zeros.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, which torch.save does not do")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries overlap")
    file.seek(0)
    return torch.load(file, map_location=device, weights_only=True)
