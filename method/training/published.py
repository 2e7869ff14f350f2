"""The published evaluation's pass in bf16: logits and losses as that code has them on CUDA."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax

from method.training.inference import Inference
from method.unlearners.base import Network


def bf16_outputs(
    inference: Inference, model: nn.Module, rows: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, C) and losses (n,) as the published evaluation takes them: all under autocast to bf16, the head too.

    Both come as float32, which holds what bf16 does.
    """
    network = cast(Network, model)

    def whole(image: Tensor) -> Tensor:
        return linear(network.features(image), network.head.weight, network.head.bias)

    logits = inference.at(torch.bfloat16).apply(model, whole, rows, "evaluation, bf16")
    return logits.cpu().numpy(), bf16_loss(logits, target)


def bf16_loss(logits: Tensor, target: np.ndarray) -> np.ndarray:
    """(n,) cross-entropy of (n, C) logits, both rounded to bf16, between which all is in fp32.

    So does the published code's on CUDA, where autocast leaves the log-softmax in it the type of the logits. On a CPU
    autocast takes losses in fp32, and torch's own bf16 kernel rounds once more than CUDA's.
    """
    log_p = log_softmax(logits.to(torch.bfloat16).float(), dim=1)
    loss = -log_p.gather(1, torch.from_numpy(target).to(logits.device)[:, None])[:, 0]
    return loss.to(torch.bfloat16).float().cpu().numpy()
