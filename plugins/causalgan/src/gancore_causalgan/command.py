"""``gancore causal sample``: images of a run under interventions and conditions on their attributes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gancore_training import device_option, path_type

from gancore import GancoreError, Latents

if TYPE_CHECKING:
    from torch import Tensor

    from gancore.tools import Run


@click.group()
def causal() -> None:
    """Sample the causal model of a run and its images."""


@causal.command()
@click.argument("run", type=path_type)
@click.option("--do", "do", multiple=True, metavar="NAME=0|1", help="Set an attribute whatever its causes; may be repeated.")
@click.option("--given", multiple=True, metavar="NAME=0|1", help="Keep draws with this value alone; may be repeated.")
@click.option("--n", "number", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Number of images.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of attributes and latents.")
@click.option("--weights", default="ema", show_default=True, help="ema, live, or a further average of the recipe.")
@click.option("--out", type=path_type, help="File, e.g. x.png.  [default: RUN/causal.png]")
@device_option
def sample(
    run: Path, do: tuple[str, ...], given: tuple[str, ...], number: int, seed: int, weights: str, out: Path | None, device: str
) -> None:
    """Write images of attributes that the causal controller draws.

    Without options they are as in the data (observational); with --given, as in those of the data that have these values
    (conditional); with --do, as if these attributes were set from outside (interventional), so that their effects change and
    their causes do not.
    """
    from gancore_training import image_format, open_run

    from gancore.tools import choose_device, registry

    set_to, condition = _values(do, "--do"), _values(given, "--given")
    path = out or run / "causal.png"
    write = image_format(path, registry())
    opened = open_run(run, registry(), choose_device(device), bare=True)
    latents = draw(opened, number, set_to, condition, seed)
    pieces = [slice(start, start + 250) for start in range(0, number, 250)]
    write(_images(opened, latents, pieces, weights), path)
    names = opened.plan.info.class_names or [f"attribute {place}" for place in range(latents.label.shape[1])]
    shares = latents.label.double().mean(0).tolist()
    click.echo("  ".join(f"{name} {share:.2f}" for name, share in zip(names, shares, strict=True)))
    click.echo(f"{number} images are in {path}")


def draw(run: Run, number: int, do: dict[str, int], given: dict[str, int], seed: int = 0) -> Latents:
    """Return latents and attributes of a run's causal controller.

    Args:
        run: The run.
        number: How many.
        do: Attributes that are set from outside, to 0 or 1.
        given: Values that attributes must come out with.
        seed: Of the draws.

    Raises:
        GancoreError: The run's latents are of no causal controller, or what is asked for can't be drawn.
    """
    import torch

    from gancore.tools import noise_for
    from gancore_causalgan.latents import Causal

    prior = run.prior
    if not isinstance(prior, Causal):
        raise GancoreError(
            f"{run.recipe.name} draws its attributes from no causal controller; choose a run with the latent causalgan/causal."
        )
    with torch.no_grad():
        return prior.draw_under(number, noise_for(run.device, seed, "causal"), do, given)


def _images(run: Run, latents: Latents, pieces: list[slice], weights: str) -> Tensor:
    import torch

    total = len(latents.z)
    images = [
        run.generate(Latents(latents.z[rows], latents.label[rows]), weights, start=rows.start, total=total) for rows in pieces
    ]
    return torch.cat(images).cpu()


def _values(words: tuple[str, ...], option: str) -> dict[str, int]:
    values: dict[str, int] = {}
    for word in words:
        match = re.fullmatch(r"(.+)=([01])", word)
        if match is None:
            raise GancoreError(f"{option} {word!r} is not of the form NAME=0 or NAME=1, e.g. smiling=1.")
        if values.setdefault(match[1], int(match[2])) != int(match[2]):
            raise GancoreError(f"{option} says both 0 and 1 of {match[1]!r}; leave out one of them.")
    return values
