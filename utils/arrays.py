"""Arrays from .npz files that nobody vouches for: numbers and texts, never objects."""

from pathlib import Path

import numpy as np


def read_npz(path: Path, *names: str) -> list[np.ndarray]:
    """Some of the arrays in a file, read alone; ValueError, in one line, where that cannot be done.

    An array of objects is a pickle, which could run code; numpy loads none unless told to.
    """
    try:
        with np.load(path) as stored:
            return [stored[name] for name in names]
    except (AttributeError, TypeError):  # a lone array, which numpy gives back bare
        raise ValueError("no archive of arrays") from None
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        # numpy's own words advise to trust the file.
        reason = "it holds pickled objects, which could run code" if "pickle" in reason else reason
        raise ValueError(reason) from None
