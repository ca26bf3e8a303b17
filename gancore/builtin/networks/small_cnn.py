"""small"""
from __future__ import annotations
from typing import Annotated
from torch import Tensor, nn
from gancore.components import Classifier
from gancore.settings import Range
class SmallCNN(Classifier):
    """x"""
    def __init__(self, *, channels: int, image_size: int, classes: int, width: Annotated[float, Range(0, open_low=True)] = 1.0):
        super().__init__()
        m = [max(8, round(width * n / 8) * 8) for n in (32, 64, 128)]
        self.layers = nn.Sequential(
            nn.Conv2d(channels, m[0], 3, 2 if image_size > 16 else 1, 1, bias=False), nn.BatchNorm2d(m[0]), nn.ReLU(),
            nn.Conv2d(m[0], m[1], 3, 2, 1, bias=False), nn.BatchNorm2d(m[1]), nn.ReLU(),
            nn.Conv2d(m[1], m[2], 3, 2, 1, bias=False), nn.BatchNorm2d(m[2]), nn.ReLU())
        self.features = m[2]; self.classes = classes
        self.linear = nn.Linear(m[2], classes)
    def embed(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))
    def classify(self, features: Tensor) -> Tensor:
        return self.linear(features)
