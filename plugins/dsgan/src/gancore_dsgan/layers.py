"""Layers of DSGAN's networks: linear ones and convolutions with weight norm.

Their weight norm has a gain per output. The public code sets gains and biases from a batch of data (data-dependent
initialization), which is left out here: the gain starts as the norm of the drawn weights, so that it changes nothing at first,
or, in the classifiers, at a value that keeps the signal's size.
"""

from __future__ import annotations

import math

from torch import nn
from torch.nn.utils.parametrizations import weight_norm

KEEPS = math.sqrt(2 / (1 + 0.2**2))
"""Gain by which a weight-normed layer before a leaky ReLU keeps the signal's size, at any width (He et al. 2015, Eq. 15).

The public code scales the layers by the data instead; left at the norm of weights from N(0, 0.05^2), a narrow network's signal
would vanish.
"""


def scaled(width: float, *units: int) -> list[int]:
    """Return numbers of units or maps times a width, none below 8."""
    return [max(8, round(unit * width)) for unit in units]


def normed(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, std: float, gain: float | None = None, *, learns: bool = True
) -> nn.Module:
    """Return a layer under weight norm, with weights from N(0, std^2) and biases 0.

    Args:
        layer: The layer.
        std: Deviation of its weights.
        gain: Initial gain of each output; by default the norm of its weights.
        learns: Whether the gain is trained.
    """
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    # A transposed convolution keeps its outputs in the second dimension, and a gain belongs to an output.
    weight_norm(layer, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
    if gain is not None:
        nn.init.constant_(layer.get_parameter("parametrizations.weight.original0"), gain)
    layer.get_parameter("parametrizations.weight.original0").requires_grad_(learns)
    return layer


def convolution(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, *, valid: bool = False, learns: bool = True
) -> nn.Sequential:
    """Return a convolution under weight norm, and its leaky ReLU of slope 0.2.

    Args:
        inputs: Channels that go in.
        outputs: Maps that come out.
        size: Height and width of the kernel; odd.
        stride: Of the kernel.
        valid: Whether the maps are not padded.
        learns: Whether the gain is trained.
    """
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=0 if valid else size // 2)
    return nn.Sequential(normed(layer, 0.05, KEEPS, learns=learns), nn.LeakyReLU(0.2))
