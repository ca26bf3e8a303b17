"""What an input of the fuzzer is, and the values that its mutations write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import attrs

from gancore.files import toml
from gancore.registry import registry


@attrs.define
class Input:
    """A command with what it is to meet.

    Attributes:
        words: The words of the command.
        about: What was done to a sound input, in a line.
        wrong: Whether it must be refused; otherwise either is right, as long as it ends well.
        plugin: Code of a plugin's declaring module that is installed, or None.
        kind: Its kind, of `tests.fuzz.KINDS`.
        seed: Its number.
    """

    words: list[str]
    about: str
    wrong: bool = False
    plugin: str | None = None
    kind: str = ""
    seed: int = 0


TEXTS = [
    "",
    " ",
    "x",
    "x" * 300,
    "y" * 20_000,
    "a\0b",
    "\x1b[31mred\x1b[0m",
    "\u202etxt.exe",
    "line\nline",
    "Error: no",
    "../../../etc/passwd",
    "/dev/zero",
    "~nobody-of-this-name",
    "~",
    "~/x",
    ".",
    "/",
    "standard/hinge",
    "torch/Adam",
    "evil/thing",
    "nan",
    "-1",
    "\u00e9\u4e2d\U0001f600",
    "%s%n{0}{x}",
    "'; rm -rf ~",
    '"',
    "true",
]
NUMBERS: list[Any] = [0, -1, 1, 2, 7, 10**9, 10**18, 2**63 - 1, -(2**63), 0.0, -0.5, 1e-300, 1e308, float("inf"), float("nan")]
OTHERS: list[Any] = [True, False, [], [1], ["x"], [[1]], [True, 1, "x"], {}, {"a": 1}, {"use": 3}, {"use": "standard/hinge"}]
RAW = [
    "[" * 3000,
    "[" * 40 + "]" * 40,
    "{a=" * 40 + "1" + "}" * 40,
    "9" * 5000,
    "0x" + "f" * 5000,
    "1e400",
    "18446744073709551616",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '"\\u0000"',
    '"\\ud800"',
    '"""',
    "1\n[data]\nuse = 3",
    "{",
    "1 2",
    "\udce9",
]
"""Right sides of an assignment that are no plain value."""


def weird(rng: Random) -> Any:
    """Return a value that a recipe would hardly have."""
    return rng.choice(rng.choice([TEXTS, NUMBERS, OTHERS]))


def sort_of(value: Any) -> str:
    """Return which kind of value something is; another kind in its place must be refused."""
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "many"


def is_wrong(old: Any, new: Any) -> bool:
    """Return whether one plain value can't stand in the place of another whatever it means."""
    endless = isinstance(new, float) and not abs(new) < float("inf")
    return "many" not in (sort_of(old), sort_of(new)) and (sort_of(old) != sort_of(new) or endless)


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return every value of a table that is no table, with its path."""
    plain = [((*path, key), value) for key, value in table.items() if not isinstance(value, dict)]
    return plain + [leaf for key, value in table.items() if isinstance(value, dict) for leaf in leaves(value, (*path, key))]


def names() -> list[str]:
    """Return names of components of any kind."""
    return [component.full_name for component in registry().components()] + ["Adam", "torch/SGD", "torch/LBFGS", "evil/thing"]


def installed_recipes() -> list[str]:
    """Return the names of all installed recipes."""
    return sorted(registry().recipes())


TINY: dict[str, Any] = {
    "run": {"iterations": 2, "batch_size": 8, "latent_dim": 4, "precision": "float32", "log_every": 1, "seed": 0},
    "data": {"use": "standard/digits"},
    "samplers": {"tail": {"use": "standard/long-tail", "ratio": 4.0}},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.0625, "conditional": True},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 8},
    },
    "heads": {"adversarial": {"use": "standard/projection"}, "classes": {"use": "standard/auxiliary-classifier"}},
    "losses": {
        "adversarial": {"use": "standard/hinge", "weight": 1.0, "every": 1},
        "classes": {"use": "standard/auxiliary-classifier"},
        "penalty": {"use": "standard/gradient-penalty", "weight": 2.0},
    },
    "optimizers": {
        "generator": {"use": "standard/adam", "lr": 1e-3, "betas": [0.5, 0.9], "schedule": {"use": "standard/linear"}},
        "discriminator": {"use": "standard/adam", "lr": 1e-3},
    },
    "loop": {"use": "standard/alternating", "discriminator_steps": 1},
    "ema": {"decay": 0.9, "start": 1},
    "evaluation": {"samples": 16, "batch_size": 8},
}
"""A game that trains in a moment."""


def write(path: Path, table: Mapping[str, Any]) -> str:
    """Write a recipe and return its name."""
    path.write_text(toml.dumps(table), encoding="utf-8", errors="surrogatepass")
    return f"./{path.name}"
