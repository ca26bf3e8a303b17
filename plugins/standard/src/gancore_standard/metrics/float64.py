"""Numbers of a score, in the one place and precision in which all scores are computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def as_float64(values: Any) -> Tensor:
    """Return a tensor of any device, a NumPy array or nested lists as float64 on the CPU, without a graph."""
    # One place for all scores, so that a value does not depend on the accelerator's linear algebra.
    return torch.as_tensor(values).detach().to("cpu", torch.float64)
