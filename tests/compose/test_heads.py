"""Heads of every plugin of this repository."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn.utils import parametrize

from gancore.contract import complete
from tests.compose.hosts import registry

HEADS = [
    declared.full_name for declared in registry().components("head") if not declared.full_name.startswith(("probe/", "host/"))
]
KNOWN = {"features": 6, "classes": 3, "attributes": 0, "spectral_norm": True}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_spectrally_normalized_as_its_discriminator_is(name: str) -> None:
    cls = registry().load(registry().component("head", name, where="test"))
    head = cls(**complete(cls, {}, where=name, context=KNOWN))
    layers = [module for module in head.modules() if isinstance(module, nn.Linear | nn.Embedding)]
    assert layers
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
