"""Deterministic pseudo-random inputs and weights, as the parity vectors define them (independent of any RNG)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

_MASK = (1 << 64) - 1


def hash_uniform(n: int, j: int) -> np.ndarray:
    """Return n float64 values in [-1, 1), a hash of position and stream number j."""
    with np.errstate(over="ignore"):
        h = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        h += np.uint64((j * 0xD1B54A32D192ED03) & _MASK)
        h ^= h >> np.uint64(30)
        h *= np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(27)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(31)
    return (h >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def grid_img(n: int, c: int, h: int, w: int, j: int = 2000) -> Tensor:
    """Return images (n, c, h, w) float32 with values in [-1, 1)."""
    return torch.from_numpy(hash_uniform(n * c * h * w, j).reshape(n, c, h, w)).float()


def formula_values(name: str, shape: tuple[int, ...], j: int, gain: float = 1.0) -> Tensor:
    """Return the j-th tensor that `fill_formula` writes, for a state-dict entry of this name and shape."""
    u = hash_uniform(math.prod(shape), j).reshape(shape)
    if name.endswith(("running_var", "avg_var")):
        value = 1 + 0.1 * u
    elif len(shape) >= 2:
        value = gain * math.sqrt(6 / math.prod(shape[1:])) * u
    elif name.endswith(("running_mean", "avg_mean", "bias")):
        value = 0.1 * u
    else:
        value = 1 + 0.1 * u
    return torch.from_numpy(value)


def fill_formula(module: nn.Module, gain: float = 1.0) -> None:
    """Overwrite a module's floating state, in the order of its state dict; spectral norm's vectors are not counted."""
    j = 0
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point() or name.endswith(("_u", "_v")):
            continue
        tensor.copy_(formula_values(name, tuple(tensor.shape), j, gain).to(tensor.dtype))
        j += 1
