"""Stateless randomness: every draw comes from a generator seeded by what it is for.

There is no random state to save, so resume is exact; and adding a part to a recipe does not change the draws of the others.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, e.g. ``derive(0, "latent", 17, rank)``."""
    text = "\x1f".join(map(str, (seed, *purpose))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(device: torch.device | str, seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on `device`, seeded for a purpose."""
    return torch.Generator(device).manual_seed(derive(seed, *purpose))
