"""Digests change when what they stand for does, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gancore
from gancore.files import digest, raw_bytes


def test_core_makes_digests_in_one_place_and_random_keys_in_another() -> None:
    sources = Path(gancore.__file__).parent
    users = {str(path.relative_to(sources)) for path in sources.rglob("*.py") if "hashlib" in path.read_text()}
    assert users == {"files/digests.py", "parallel/randomness.py"}


@pytest.mark.parametrize("characters", [8, 12, 32])
def test_a_digest_has_as_many_characters_as_asked_for(characters: int) -> None:
    assert len(digest([b"gan", b"core"], characters)) == characters
    assert digest([b"gan", b"core"], characters) == digest([b"gancore"], characters)


def test_the_bytes_of_a_tensor_are_its_values_in_their_order() -> None:
    values = torch.arange(6, dtype=torch.float32).view(2, 3)
    assert raw_bytes(values) == values.numpy().tobytes()
    assert raw_bytes(values.t()) == values.numpy().T.tobytes()
    assert len(raw_bytes(values.bfloat16().requires_grad_())) == 12
