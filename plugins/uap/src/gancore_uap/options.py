"""Options that the commands of ``gancore uap`` share, and what their texts mean. Imports no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from gancore_training import path_type, recipe_options

if TYPE_CHECKING:
    from gancore_uap.judging import Target

F = TypeVar("F", bound=Callable[..., Any])

victims = click.option("--victim", "victims", metavar="VICTIM", multiple=True, required=True, help="May be repeated.")
budgets = click.option("--epsilon", "epsilons", metavar="E,E,...", help="Further budgets to scale to, e.g. 4/255,8/255.")


def out(default: str) -> Callable[[F], F]:
    """Add the option ``--out``."""
    return click.option("--out", type=path_type, default=Path(default), show_default=True, help="Folder of the results.")


def overlays_option(name: str, into: str, help_text: str) -> Callable[[F], F]:
    """Add an option that layers recipes over another."""
    return click.option(name, into, metavar="RECIPE", multiple=True, help=help_text)


def assignments_option(name: str, into: str, help_text: str) -> Callable[[F], F]:
    """Add an option of ``KEY=VALUE`` texts."""
    return click.option(name, into, metavar="KEY=VALUE", multiple=True, help=help_text)


proxy_size = click.option(
    "--proxy-size", type=click.IntRange(8, 4096), help="Resize the proxy set for the crafting, e.g. to the victims' 224."
)


def prior(command: F) -> F:
    """Add what a prior GAN and its proxy set are planned by, passed as the dict ``prior``."""
    for option in (
        click.option("--format", "form", type=click.Choice(["safetensors", "png"]), default="safetensors", show_default=True),
        click.option("--images", type=click.IntRange(1), default=1024, show_default=True, help="Of each cycle."),
        click.option(
            "--cycles", type=click.IntRange(1), help="The last ones are sampled.  [default: the recipe's run.keep_checkpoints]"
        ),
        recipe_options,
    ):
        command = option(command)
    return _gathered(command, "prior", ("overlays", "assignments", "cycles", "images", "form"))


def target(command: F) -> F:
    """Add what perturbations are judged on, passed as the dict ``target``; `target_of` reads it."""
    for option in (
        click.option(
            "--other-classes", "foreign", is_flag=True, help="The target's classes are not the victims': no accuracies."
        ),
        click.option("--target-class", "wanted", type=click.IntRange(0), help="Count how often images are taken for it."),
        click.option("--samples", type=click.IntRange(1), default=10_000, show_default=True, help="Images to test on."),
        click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True),
        assignments_option("--target-set", "data_assignments", "Set one value of the target's data, e.g. image_size=128."),
        click.option("--target", "data", metavar="DATA", required=True, help="The target's data set, for the scores alone."),
    ):
        command = option(command)
    return _gathered(command, "target", ("data", "data_assignments", "split", "samples", "wanted", "foreign"))


def _gathered(command: F, into: str, names: Sequence[str]) -> F:
    """Return a command that hands on the values of some options as one dict."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        gathered = {name: values.pop(name) for name in names}
        return command(**{into: gathered}, **values)

    return wrapped  # type: ignore[return-value]


def target_of(values: dict[str, Any]) -> Target:
    """Return the target that the options of `target` describe."""
    from gancore_uap.judging import Target

    rest = {name: value for name, value in values.items() if name not in ("data", "data_assignments")}
    return Target(data_table(values["data"], values["data_assignments"], "--target-set"), **rest)


def data_table(name: str, assignments: Sequence[str], option: str) -> dict[str, Any]:
    """Return the ``[data]`` that a name and ``KEY=VALUE`` texts stand for."""
    from gancore.tools import assigned

    return assigned({"use": name}, assignments, option)


def numbers(text: str | None, option: str) -> list[float]:
    """Return budgets on the [0, 1] scale, which are written as ``4/255,10/255`` or ``0.02,0.04``."""
    from gancore_standard.tools import budgets as budgets_of

    return budgets_of(text, option, width=1.0) if text else []
