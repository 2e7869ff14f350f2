"""What `devices.fetch` brings from the device is what torch's own copies bring, tensor by tensor."""

from typing import Any

import torch
from torch import Tensor

from scripts.acceptance import gpu
from scripts.acceptance.rows import Row, verdict
from utils import device as devices

NAME = "fetched states"
# Products one after the other, for some milliseconds: whoever reads before they are there has something else.
ROUNDS, LARGE, SMALL = 20, 2048, 256


def states_come_whole(device: torch.device) -> Row:
    """Kinds of tensors, nested as in a saved state, fetched while the device is still at work on one of them."""
    state = some_state(device)
    # Copied at once, before anything below waits for the device in its place.
    found = dict(tensors_of(devices.fetch(state), at_once=True))
    expected = {name: value.cpu() for name, value in tensors_of(state)}
    wrong = [name for name in expected if name not in found or not alike(found[name], expected[name])]
    wrong += [name for name in found if name not in expected]
    value = f"{len(wrong)} of {len(expected)} tensors differ" + (f": {', '.join(wrong)}" if wrong else "")
    return verdict(NAME, not wrong and len(expected) > 0, value, "bit for bit and by strides, as .cpu() gives them")


def some_state(device: torch.device) -> dict[str, Any]:
    """Every kind of tensor that a state may hold, the one that takes longest first."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 5, 6, generator=draw)
    n = LARGE if gpu.is_gpu(device) else SMALL
    late = torch.randn(n, n, generator=draw).to(device)
    several = {
        "channels-last": images.to(device, memory_format=torch.channels_last),
        "transposed": images.to(device).transpose(1, 3),
        "NaN and infinity": torch.tensor([torch.nan, torch.inf, -0.0]).to(device),
        "bf16": images.to(device, torch.bfloat16),
    }
    for _ in range(ROUNDS):
        late = (late @ late).tanh()
    return {
        "late": late,
        "dict": several,
        "list": [(images > 0).to(device), torch.tensor(2.5).to(device), {"empty": torch.empty(0, 3).to(device)}],
        "tuple": (torch.arange(-3, 2**40, 2**37).to(device), torch.tensor(7).to(device)),
    }


def tensors_of(content: Any, name: str = "", at_once: bool = False) -> list[tuple[str, Tensor]]:
    """(place in the state, tensor); at_once: copies of what they hold now."""
    if isinstance(content, Tensor):
        return [(name, content.clone() if at_once else content)]
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    return [found for key, value in pairs for found in tensors_of(value, f"{name}/{key}".lstrip("/"), at_once)]


def alike(value: Tensor, other: Tensor) -> bool:
    """Whether two tensors are on the CPU, of one kind, shape and strides, and hold the same bits."""
    kinds = [(one.device.type, one.dtype, one.shape, one.stride()) for one in (value, other)]
    return kinds[0] == kinds[1] and torch.equal(bits(value), bits(other))


def bits(value: Tensor) -> Tensor:
    """The bytes of a tensor, uint8 (n,), in which NaN equals itself, and a zero is not the negative one."""
    return value.flatten().view(torch.uint8)
