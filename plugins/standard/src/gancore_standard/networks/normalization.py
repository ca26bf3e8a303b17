"""Batch norm whose gain and bias depend on the label."""

from __future__ import annotations

from torch import Tensor, nn


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm, then gain 1 + embed0(y) and bias embed1(y) (de Vries et al. 2017), as CBGAN's code has it.

    Args:
        maps: Number of maps C.
        classes: Number of classes K.
        eps: Added to the variance.
    """

    def __init__(self, maps: int, classes: int, *, eps: float = 1e-4) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, eps=eps, affine=False)
        self.gain = nn.Embedding(classes, maps)
        self.bias = nn.Embedding(classes, maps)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize maps (N, C, H, W) given labels (N,) int64."""
        gain = (1 + self.gain(label))[:, :, None, None]
        normed: Tensor = self.norm(x) * gain + self.bias(label)[:, :, None, None]
        return normed


class Norm2d(nn.Module):
    """Batch norm, or conditional batch norm where a generator is conditional; called alike.

    Args:
        maps: Number of maps C.
        classes: Number of classes K, or None for plain batch norm.
    """

    def __init__(self, maps: int, classes: int | None) -> None:
        super().__init__()
        self.conditional = classes is not None
        self.norm = nn.BatchNorm2d(maps) if classes is None else ConditionalBatchNorm2d(maps, classes)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Normalize maps (N, C, H, W)."""
        normed: Tensor = self.norm(x, label) if self.conditional else self.norm(x)
        return normed
