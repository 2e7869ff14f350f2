"""A classifier in formats that need nothing of this program: under the architecture's own names, or as a graph."""

import hashlib
import io
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.frozen import Frozen, own_names_of_frozen
from models.weights import own_names
from utils.errors import UserError

INPUT, OUTPUT = "images", "logits"
EXAMPLES = 2  # a batch of one would be taken for a size that is always one


def state_dict(model: Classifier, image_size: int) -> bytes:
    """What torch.save writes of the tensors by the architecture's own names."""
    buffer = io.BytesIO()
    torch.save(own_state(model), buffer)
    return buffer.getvalue()


def safetensors(model: Classifier, image_size: int) -> bytes:
    """The same tensors as a safetensors file."""
    try:
        from safetensors.torch import save
    except ImportError:
        raise _missing("safetensors") from None
    return save(own_state(model), metadata={"format": "pt"})


def torch_export(model: Classifier, image_size: int) -> bytes:
    """A program of torch.export (.pt2) from normalised images (n, 3, S, S), any n, to logits (n, n_targets)."""
    buffer = io.BytesIO()
    torch.export.save(_traced(model, image_size), buffer)
    return buffer.getvalue()


def onnx(model: Classifier, image_size: int) -> bytes:
    """The same as ONNX, with the input `images` and the output `logits`."""
    try:
        import onnxscript  # noqa: F401  (what torch's exporter is written with)
    except ImportError:
        raise _missing("onnx onnxscript") from None
    traced = _traced(model, image_size)
    try:
        program = torch.onnx.export(traced, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    except Exception as error:  # whatever an operation does that ONNX has no counterpart of
        kind = type(error).__name__  # whose text is pages about torch's own code
        raise UserError(f"torch cannot write this network as ONNX ({kind}); export it in another format") from None
    assert program is not None  # as dynamo is True
    return program.model_proto.SerializeToString()


FORMATS: dict[str, Callable[[Classifier, int], bytes]] = {
    "state_dict": state_dict,
    "safetensors": safetensors,
    "torch_export": torch_export,
    "onnx": onnx,
}


def own_state(model: Classifier) -> dict[str, Tensor]:
    """Weights and buffers by the architecture's own names, each contiguous in memory of its own."""
    rename = own_names_of_frozen if isinstance(model.backbone, Frozen) else own_names
    state = rename(model.state_dict(), model.head_name)
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256, hexadecimal, of the tensors in the order of their names: name, type, shape and bytes of each."""
    whole = hashlib.sha256()
    for name, value in sorted(state.items()):
        whole.update(f"{name} {str(value.dtype).removeprefix('torch.')} {list(value.shape)}\n".encode())
        whole.update(value.contiguous().numpy().tobytes())
    return whole.hexdigest()


def _traced(model: Classifier, image_size: int) -> torch.export.ExportedProgram:
    """The network without autocast, which would stay in the graph; UserError where torch cannot trace it."""
    head = nn.Linear(model.feature_dim, model.n_targets)
    head.load_state_dict(model.head.state_dict())
    network = nn.Sequential(model.backbone, head).eval()
    images = torch.zeros(EXAMPLES, 3, image_size, image_size)
    try:
        return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
    except Exception as error:  # whatever a network does that cannot be written down as a graph
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"torch cannot trace this network ({reason}); export it as state_dict or safetensors") from None


def _missing(packages: str) -> UserError:
    return UserError(f"this format needs packages that are not installed: pip install {packages}")
