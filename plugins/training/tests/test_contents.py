"""Digests of tables and of images change when what they stand for does, and only then."""

from __future__ import annotations

import torch
from gancore_training.contents import OF_MORE, content_of, digest_of


def test_the_order_of_keys_does_not_count_and_every_value_does() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert len({digest_of(value) for value in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"b": 1}, [1], 1)}) == 6


def test_every_row_counts_unless_only_so_many_bytes_are_read() -> None:
    images = torch.arange(64, dtype=torch.uint8).view(16, 1, 2, 2)
    other = images.clone()
    other[5] += 1
    assert content_of(images) == content_of(images.clone()) != content_of(other)
    assert content_of(images, most=16) == content_of(other, most=16)  # every fourth row
    many = torch.zeros(4 * OF_MORE, 3, dtype=torch.uint8)
    changed = many.clone()
    changed[5] += 1
    assert content_of(many, most=2**20) != content_of(changed, most=2**20)
    assert content_of(many, most=2**13) == content_of(changed, most=2**13)  # every fourth, of which 5 is none
    changed[8] += 1
    assert content_of(many, most=2**13) != content_of(changed, most=2**13)
    assert content_of(images, torch.zeros(16)) != content_of(images, torch.ones(16))
