"""Every random number comes from a generator whose seed is derived here from what it is used for."""

import hashlib

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """A 63-bit seed, SHA-256 of the parts; independent of platform, library and call order."""
    digest = hashlib.sha256("|".join(repr(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_generator(*parts: object) -> np.random.Generator:
    """A numpy generator of its own for `parts`."""
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))


def torch_generator(*parts: object) -> torch.Generator:
    """A torch generator of its own for `parts`, on the CPU so that every device draws the same numbers."""
    return torch.Generator().manual_seed(derive_seed(*parts))
