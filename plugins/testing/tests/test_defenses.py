"""What the suite asks of defenses fails for those that are broken, each in one way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_testing import alone
from torch import Tensor

import gancore


class Sound(gancore.Defense):
    """Halves images."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x / 2


class Views(Sound):
    sees = "all"  # type: ignore[assignment]


class Shape(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x[:1]


class Range(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return 3 * x


class Infinite(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x / 0


class Stray(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x / 2 + torch.rand(()) / 9


class Silent(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        torch.rand(())
        return x / 2


class InPlace(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        x.data.mul_(0.5)
        return x


class Blind(Sound):
    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x.detach() / 2


class BlindSubstitute(Sound):
    sees = "substitute"

    def substitute(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x.detach()


class Unprepared(Sound):
    def prepare(self, run: Any) -> None:
        raise gancore.GancoreError("no generator here")


def test_a_sound_defense_passes() -> None:
    alone.defends(Sound())


def test_a_defense_without_gradient_passes_where_its_attacker_sees_another() -> None:
    for sees in ("bare", "substitute"):
        defense = Blind()
        defense.sees = sees  # type: ignore[assignment]
        alone.defends(defense)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Views, "sees is 'all', not one of bare, substitute, through"),
        (Shape, "defend gives the shape"),
        (Range, r"not in \[-1, 1\]"),
        (Infinite, "not finite"),
        (Stray, "other images for the same noise"),
        (Silent, "torch's own random stream"),
        (InPlace, "other images for the same noise|changes the images in place"),
        (Blind, "defend passes no gradient, and the attacker sees 'through'"),
        (BlindSubstitute, "substitute passes no gradient"),
    ],
)
def test_a_broken_defense_fails(cls: type[gancore.Defense], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        alone.defends(cls())


def test_a_defense_that_refuses_its_run_fails() -> None:
    with pytest.raises(gancore.GancoreError, match="no generator here"):
        alone.defends(Unprepared())
