"""Another program's checkpoint as a classifier: strict in names and shapes, its outputs in the order of the data's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from models import MODELS, build_model
from models.classifier import Classifier
from models.weights import classifier_names, differences, own_names
from utils.errors import UserError

POSITIONS = "pos_embed"  # what timm's transformers call the table whose length follows from the image size
MOST_TOKENS = 5  # that are no part of the image: class, distillation, registers


def count_outputs(model: Classifier, state: Mapping[str, Tensor]) -> int | None:
    """How many outputs a state dict's last layer has; None where it has no such layer as `model`."""
    weight = state.get(f"{model.head_name}.weight")
    return len(weight) if weight is not None and weight.ndim == 2 else None


def adopt(model: Classifier, state: Mapping[str, Tensor], order: Sequence[int], file: Path, image_size: int) -> None:
    """Load a whole state dict under the architecture's own names; output k becomes what `order`[k] was there.

    UserError where names or shapes are not those of `model`, with the flag that would make them fit. file: for it.
    """
    if spoilt := [key for key, value in state.items() if not bool(value.isfinite().all())]:
        raise UserError(f"{file}: {spoilt[0]} holds infinities or no numbers; give a checkpoint that works")
    own = own_names(model.state_dict(), model.head_name)
    given = {**_counters(own), **state}
    if found := differences(own, given):
        raise UserError(f"{file} does not fit --model: {found}; {_remedy(own, state, image_size)}")
    head = {f"{model.head_name}.{name}" for name in ("weight", "bias")}
    ordered = {key: value[list(order)] if key in head else value for key, value in given.items()}
    model.load_state_dict(classifier_names(ordered, model.head_name))


def _remedy(own: Mapping[str, Tensor], given: Mapping[str, Tensor], image_size: int) -> str:
    """Which flag would make a state dict fit."""
    if any(key.startswith("backbone.") for key in given) and not any(key.startswith("backbone.") for key in own):
        return "this is a model of this program, which needs no import: give it as --original"
    if resized := [key for key in own if _is_resized(key, own, given)]:
        n_there, n_here = (state[resized[0]].shape[1] for state in (given, own))
        size = _fitting_size(n_there, n_here, image_size) or ""
        return f"it was trained on images of another size: give --image_size {size}".rstrip()
    if fitting := [name for name in sorted(MODELS) if _fits(name, given)]:
        return f"these are the names and shapes of --model {' or '.join(fitting)}"
    return "give the --model that was trained"


def _is_resized(key: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return key.endswith(POSITIONS) and key in given and given[key].ndim == 3 and given[key].shape != own[key].shape


def _fitting_size(there: int, here: int, image_size: int) -> int | None:
    """The image size of a table of `there` positions, where `image_size` has `here`; None for no whole number."""
    for n_tokens in range(min(MOST_TOKENS, here, there)):
        size = image_size * math.sqrt((there - n_tokens) / (here - n_tokens))
        if size == round(size):
            return round(size)
    return None


def _fits(name: str, given: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names and shapes of a network, but for the number of its outputs."""
    model = build_model(name, 1, 0, "none")
    first_output = {
        key: value[:1] if value.ndim and key.startswith(f"{model.head_name}.") else value
        for key, value in given.items()
    }
    own = own_names(model.state_dict(), model.head_name)
    return not differences(own, {**_counters(own), **first_output})


def _counters(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Batch norm's counters, which older files lack, and whose values nothing here reads."""
    return {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
