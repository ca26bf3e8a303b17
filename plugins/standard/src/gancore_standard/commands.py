"""The commands ``gancore attack`` and ``gancore explain``. Importing this module imports no torch."""

from __future__ import annotations

from pathlib import Path

import click
from gancore_training import (
    at_option,
    device_option,
    path_type,
    recipe_argument,
    recipe_options,
    trust_local_option,
    with_local_code,
)

from gancore import GancoreError


@click.command()
@click.argument("run", type=path_type)
@click.option("--attack", "name", default="fastrobgan/pgd", show_default=True, help="Attack of `gancore components attack`.")
@click.option(
    "--epsilon",
    "words",
    default="0.02,0.04,0.08",
    show_default=True,
    metavar="E,E,...",
    help="Levels of a pixel, as 4/255,8/255; a number without / is on the [-1, 1] scale, twice that.",
)
@click.option(
    "--defense",
    help="A defense of `gancore components defense` in front of the classifier; its settings by --set defense.KEY=...",
)
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting of the attack, e.g. steps=20.")
@click.option("--classifier", help="A classifier that the run trained, or a head of its discriminator.  [default: the first]")
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="Real images to attack.")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the attack's random starts.")
@at_option
@trust_local_option
@device_option
def attack(
    run: Path,
    name: str,
    words: str,
    defense: str | None,
    assignments: tuple[str, ...],
    classifier: str | None,
    samples: int,
    split: str,
    seed: int,
    at: str | None,
    trust_local: bool,
    device: str,
) -> None:
    """Attack a classifier that a run trained, or its discriminator's class head, and append the robust accuracy to the run."""
    from gancore_training import RunFolder, open_run

    from gancore.tools import assigned, choose_device
    from gancore_standard.budgets import budgets, in_levels
    from gancore_standard.robustness import robust_accuracy

    epsilons = budgets(words, "--epsilon")
    settings = assigned({}, assignments)
    if "epsilon" in settings:
        raise GancoreError("--set epsilon is for a recipe; an attack's budgets are given by --epsilon 4/255,8/255.")
    guarding = settings.pop("defense", {})
    if not isinstance(guarding, dict) or (guarding and defense is None):
        raise GancoreError("--set defense.KEY=VALUE is a setting of a defense; name the defense by --defense.")
    opened = open_run(run, with_local_code(trust_local), choose_device(device), at=at)
    result = robust_accuracy(
        opened,
        name,
        epsilons,
        settings=settings,
        classifier=classifier,
        samples=samples,
        split=split,
        seed=seed,
        defense=defense,
        defense_settings=guarding,
    )
    folder = RunFolder.open(run)
    entry = {"iteration": opened.iteration, "natural": result.natural, "accuracy": result.accuracy}
    folder.append(folder.attacks, {**entry, "lipschitz": result.lipschitz, "protocol": result.protocol})
    guard = result.protocol.get("defense")
    behind = f" behind {guard['use']} (the attacker sees: {guard['sees']})" if guard else ""
    click.echo(
        f"{result.protocol['classifier']}{behind}, {result.protocol['images']} images  (protocol {result.protocol['id']})"
    )
    click.echo(f"  natural        {100 * result.natural:6.2f} %")
    for epsilon, value in result.accuracy.items():
        click.echo(f"  epsilon {epsilon:6} {100 * value:6.2f} %   ({in_levels(float(epsilon))})")
    click.echo(f"  local Lipschitz value {result.lipschitz:.4g}")


@click.command()
@recipe_argument
@recipe_options
@trust_local_option
def explain(recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...], trust_local: bool) -> None:
    """Print a recipe's plan, without training it.

    That is its phases and passes, its parts, their versions and conflicts.
    """
    from gancore.tools import make_plan, read, say
    from gancore_standard.explain import explain as explain_plan

    plugins = with_local_code(trust_local)
    checked = read(recipe, plugins, overlays=overlays, assignments=assignments)
    say(explain_plan(make_plan(checked, plugins)))
