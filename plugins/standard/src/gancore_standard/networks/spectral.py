"""Spectral normalization, as the originals compute it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, estimated by one power iteration per training forward.

    Miyato et al. 2018, Algorithm 1, in the order of torch's first ``spectral_norm``: v from u, then u from v. The vectors are
    constants of the gradient. Under ``parametrize.cached`` a turn has one power iteration.

    Args:
        weight: Initial weight, any shape; its first dimension is the output's.
        eps: Least norm that is divided by.
    """

    def __init__(self, weight: Tensor, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        matrix = weight.detach().flatten(1)
        self.register_buffer("power_u", F.normalize(torch.randn(matrix.shape[0]), dim=0, eps=eps))
        self.register_buffer("power_v", F.normalize(torch.randn(matrix.shape[1]), dim=0, eps=eps))
        self.power_u: Tensor
        self.power_v: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its spectral norm, in float32 whatever the precision around it."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.power_v.copy_(F.normalize(matrix.T @ self.power_u, dim=0, eps=self.eps))
                    self.power_u.copy_(F.normalize(matrix @ self.power_v, dim=0, eps=self.eps))
            # Copies, because a second forward before the backward moves the buffers on.
            u, v = self.power_u.clone(), self.power_v.clone()
            return weight / torch.dot(u, matrix @ v)


def spectral(module: nn.Module, enabled: bool = True, *, eps: float = 1e-6) -> nn.Module:
    """Return the module with its weight spectrally normalized, or as it is."""
    if enabled:
        weight = module.weight
        assert isinstance(weight, Tensor)
        # The parametrization keeps shape and type; checking it would cost a forward.
        parametrize.register_parametrization(module, "weight", SpectralNorm(weight, eps=eps), unsafe=True)
    return module
