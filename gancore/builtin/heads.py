"""heads"""
from __future__ import annotations
from torch import Tensor, nn
from gancore.builtin.networks.spectral import spectral
from gancore.components import Head
class Linear(Head):
    """x"""
    def __init__(self, *, features: int, spectral_norm: bool = False):
        super().__init__()
        self.linear = nn.Linear(features, 1)
        nn.init.orthogonal_(self.linear.weight); nn.init.zeros_(self.linear.bias)
        spectral(self.linear, spectral_norm)
    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return self.linear(features).squeeze(1)
class AuxiliaryClassifier(Head):
    """x"""
    def __init__(self, *, features: int, classes: int, spectral_norm: bool = False):
        super().__init__()
        self.linear = nn.Linear(features, classes)
        spectral(self.linear, spectral_norm)
    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return self.linear(features)
