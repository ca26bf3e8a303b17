"""Initial weights."""

from __future__ import annotations

from typing import Any

from torch import nn


def orthogonal_init(module: nn.Module) -> None:
    """Set the weights of linear layers, convolutions and embeddings orthogonal, and their biases to 0, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            # Under spectral norm the trained weight is the parametrization's original.
            parametrizations: Any = getattr(layer, "parametrizations", None)
            nn.init.orthogonal_(layer.weight if parametrizations is None else parametrizations.weight.original)
            bias = getattr(layer, "bias", None)
            if bias is not None:
                nn.init.zeros_(bias)
