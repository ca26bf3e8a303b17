"""Composition of the five small plugins of the examples: with each other, and with every shipped fragment."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import combinations
from pathlib import Path

import pytest

from examples.plugins import lecam, lookahead, minibatch, momentum, square_root
from gancore.registry import Registry
from tests.compose.test_pairs import FRAGMENTS, HEADS, _folder, check_pair, resumes
from tests.conftest import PLUGINS
from tests.hosts import installed

__all__ = ["_folder"]

SMALL = {
    "lecam/lecam": lecam,
    "minibatch/deviation": minibatch,
    "square-root/square-root": square_root,
    "momentum/pgd": momentum,
    "lookahead/lookahead": lookahead,
}
PAIRS = [*combinations(SMALL, 2), *((shipped, small) for shipped in FRAGMENTS for small in SMALL)]

REFUSED = {
    ("dsgan/difference", "minibatch/deviation"): "looks at its whole batch",
    ("fastrobgan/free", "momentum/pgd"): "a recipe takes one attack",
    ("fastrobgan/pgd", "momentum/pgd"): "a recipe takes one attack",
    ("sdgan/pairs", "momentum/pgd"): "takes one image a sample",
    ("fastrobgan/free", "lookahead/lookahead"): "they set loop.use",
    **{(f"amgan/{game}", "lecam/lecam"): "asks for 'real_adversarial'" for game in ("am-gan", "catgan", "labelgan")},
    ("causalgan/labelers", "lookahead/lookahead"): "they set loop.use",
    **{(f"standard/{game}", "lookahead/lookahead"): "no setting 'discriminator_steps'" for game in ("wgan-gp", "wgan-lp")},
    **{(head, "minibatch/deviation"): "they set heads.adversarial.use" for head in HEADS},
}
"""Pairs that can't be, and a part of the sentence that says so."""


@pytest.fixture(autouse=True, scope="module")
def _installed() -> Iterator[None]:
    shipped = {name: import_module(f"gancore_{name}") for name in PLUGINS}
    with installed(Registry.of({**shipped, **{name.partition("/")[0]: module for name, module in SMALL.items()}})):
        yield


@pytest.mark.parametrize("name", SMALL)
def test_each_trains_and_resumes(name: str, tmp_path: Path) -> None:
    assert resumes((name,), tmp_path / "run") == []


@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_each_pair_trains_and_resumes_or_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    check_pair(pair, REFUSED, tmp_path / "run")
