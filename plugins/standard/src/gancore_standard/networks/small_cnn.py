"""A small convolutional classifier for digits and images of MNIST's size."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from gancore import Classifier, Range


class SmallCNN(Classifier):
    """Four 3 x 3 convolutions with batch norm and ReLU, global average pooling, one linear layer.

    Images above 16 px are halved by the first convolution, all by the third.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps 24, 48, 96, 96.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        width: Annotated[float, Range(0, open_low=True)] = 1.0,
    ) -> None:
        super().__init__()
        first, second, third = (max(8, round(width * n / 8) * 8) for n in (24, 48, 96))
        self.layers = nn.Sequential(
            *_block(channels, first, stride=2 if image_size > 16 else 1),
            *_block(first, second),
            *_block(second, third, stride=2),
            *_block(third, third),
        )
        self.linear = nn.Linear(third, classes)
        self.features = third
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits


def _block(inputs: int, outputs: int, *, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
