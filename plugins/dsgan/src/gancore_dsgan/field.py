"""The command ``gancore field``: one picture of the data, the samples and the discriminator of a run in the plane."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from gancore_training import path_type
from PIL import Image, ImageDraw
from torch import Tensor

import gancore

if TYPE_CHECKING:
    from gancore.tools import Run

REACH = 1.1
"""The axes reach from -1.1 to 1.1, as those of the pictures of samples in the plane do."""

RESOLUTION = 221
"""Places a side at which the discriminator is asked: every hundredth."""

HEAD = "adversarial"

# Pale on the way from fake to real, for points of stronger colors lie on it; far from both of these, and told apart by
# people who confuse red and green.
_MAP = ((190, 160, 205), (222, 208, 230), (247, 247, 247), (210, 235, 205), (150, 205, 150))
_DATA, _GENERATED = (70, 90, 125), (230, 110, 10)
_TEXT, _FRAME, _LINE = (70, 70, 70), (110, 110, 110), (255, 255, 255)


def draw(field: Tensor, data: Tensor, generated: Tensor, *, size: int = 600) -> Image.Image:
    """Return a picture of a discriminator's field in the plane, with data and generated points on it.

    The field is shown by its ranks, since critics have neither a zero nor a scale: the palest color is its median, and the
    legend gives the values at the quarters. A point beyond the axes is drawn at their edge; points that are not finite are
    left out, and the legend counts both.

    Args:
        field: The discriminator's output on a square grid (S, S), S of 2 or more, that covers [-1.1, 1.1] x [-1.1, 1.1];
            as a picture: first row on top, first column at the left.
        data: Points (M, 2).
        generated: Points (N, 2).
        size: Width of the picture in pixels, at least 200; the legend makes its height an eighth more.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: A shape is another, the size is too small, or the field is not finite.
    """
    if field.ndim != 2 or field.shape[0] != field.shape[1] or len(field) < 2:
        raise gancore.GancoreError(f"a field must be a square grid (S, S) of 2 or more a side, and got {tuple(field.shape)}.")
    for points, name in ((data, "data"), (generated, "generated points")):
        if points.ndim != 2 or points.shape[1] != 2:
            raise gancore.GancoreError(f"the {name} of a field must be points (N, 2), and got {tuple(points.shape)}.")
    if size < 200:
        raise gancore.GancoreError(f"the picture of a field must be 200 pixels wide or more, and {size} is not.")
    field = field.detach().double().cpu()
    if not bool(field.isfinite().all()):
        raise gancore.GancoreError(
            "the discriminator's output is not finite everywhere in the plane, so that there is no field to draw; "
            "train with a smaller learning rate."
        )

    # Drawn at twice the size and reduced, for smooth dots.
    wide, high = 2 * size, 2 * size + size // 4
    picture = Image.new("RGB", (wide, high), "white")
    canvas = ImageDraw.Draw(picture, "RGBA")
    left = round(0.14 * size)
    side = wide - left - round(0.06 * size)
    top = round(0.06 * size)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x / REACH + 1) / 2 * side, top + (1 - y / REACH) / 2 * side

    picture.paste(_painted(field).resize((side, side), Image.Resampling.BICUBIC), (left, top))
    small = size / 18
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x, y = place(tick, tick)
        canvas.line((x, top, x, top + side), fill=(*_LINE, 120), width=2)
        canvas.line((left, y, left + side, y), fill=(*_LINE, 120), width=2)
        canvas.text((x, top + side + small), f"{tick:g}", anchor="mm", fill=_TEXT, font_size=small)
        canvas.text((left - small / 3, y), f"{tick:g}", anchor="rm", fill=_TEXT, font_size=small)
    labels, notes = [], list[str]()
    for points, color, name in ((data, _DATA, "data"), (generated, _GENERATED, "generated")):
        # Many points get smaller and paler dots, so that their density can still be seen.
        crowd = min(1.0, math.sqrt(1000 / max(1, len(points))))
        radius = size / 260 + size / 200 * crowd
        points = points.detach().double().cpu()
        finite = points[points.isfinite().all(1)]
        for x, y in finite.clamp(-REACH, REACH).tolist():
            across, down = place(x, y)
            box = (across - radius, down - radius, across + radius, down + radius)
            canvas.ellipse(box, fill=(*color, round(90 + 110 * crowd)))
        beyond = int((finite.abs() > REACH).any(1).sum())
        lost = len(points) - len(finite)
        labels.append((color, name))
        notes += [f"{beyond} {name} beyond the axes"] if beyond else []
        notes += [f"{lost} {name} not finite"] if lost else []
    canvas.rectangle((left, top, left + side, top + side), outline=_FRAME, width=2)
    below = top + side + 1.9 * small
    _legend(picture, canvas, field, labels, (left, below, left + side), small)
    canvas.text((left, below + 3.2 * small), "; ".join(notes), anchor="lm", fill=_GENERATED, font_size=0.85 * small)
    return picture.resize((size, high // 2), Image.Resampling.BOX)


def _painted(field: Tensor) -> Image.Image:
    """Return the field's colors, a pixel for each place."""
    _, place, counts = torch.unique(field, return_inverse=True, return_counts=True)
    # The middle of what equal values take up, so that a field of one value is all median.
    rank = (counts.cumsum(0).double() - counts / 2) / field.numel()
    return Image.fromarray(_colors(rank[place]).numpy())


def _colors(rank: Tensor) -> Tensor:
    """Return the map's colors (..., 3) uint8 at ranks (...) from 0 to 1."""
    stops = torch.tensor(_MAP, dtype=torch.float64)
    at = rank.clamp(0, 1) * (len(stops) - 1)
    low = at.floor().long().clamp(max=len(stops) - 2)
    fraction = (at - low).unsqueeze(-1)
    return torch.lerp(stops[low], stops[low + 1], fraction).round().to(torch.uint8)


def _legend(
    picture: Image.Image,
    canvas: ImageDraw.ImageDraw,
    field: Tensor,
    labels: list[tuple[tuple[int, int, int], str]],
    box: tuple[float, float, float],
    small: float,
) -> None:
    """Draw the points' names at the left, and the bar of colors at the right, with the field's value at each quarter."""
    left, top, right = box
    for row, (color, label) in enumerate(labels):
        y = top + (row + 0.55) * 1.3 * small
        canvas.ellipse((left, y - small / 3, left + 2 * small / 3, y + small / 3), fill=color)
        canvas.text((left + small, y), label, anchor="lm", fill=_TEXT, font_size=small)
    start, length = round(left + 0.46 * (right - left)), round(0.5 * (right - left))
    bar, thick = round(top + small / 4), round(small)
    shades = _colors(torch.linspace(0, 1, length, dtype=torch.float64)).expand(thick, -1, -1)
    picture.paste(Image.fromarray(shades.contiguous().numpy()), (start, bar))
    canvas.rectangle((start, bar, start + length, bar + thick), outline=_FRAME, width=2)
    canvas.text((start - small / 3, bar + thick / 2), "D", anchor="rm", fill=_TEXT, font_size=small)
    quarters = torch.quantile(field.flatten(), torch.linspace(0, 1, 5, dtype=torch.float64)).tolist()
    for k, text in enumerate(_texts(quarters)):
        x = start + k * length / 4
        canvas.line((x, bar + thick, x, bar + thick + small / 4), fill=_FRAME, width=2)
        canvas.text((x, bar + thick + 0.8 * small), text, anchor="mm", fill=_TEXT, font_size=0.85 * small)


def _texts(values: list[float]) -> list[str]:
    """Return ascending numbers, to about a thousandth of their range."""
    span = values[-1] - values[0]
    digits = 2 - math.floor(math.log10(span)) if span > 0 else 9
    # Very small ranges would need too many decimals for the space below the bar.
    texts = [f"{value:.{max(0, digits)}f}" if digits <= 4 else f"{value:.2g}" for value in values]
    return [text.lstrip("-") if float(text) == 0 else text for text in texts]


@torch.no_grad()
def discriminator_field(run: Run, resolution: int = RESOLUTION) -> Tensor:
    """Return what a run's discriminator says in the plane: the output of its head ``adversarial``.

    A head that asks for labels is asked for each class, and the mean is taken.

    Args:
        run: A run on points in the plane.
        resolution: Places S a side.

    Returns:
        The field (S, S) float32 over [-1.1, 1.1] x [-1.1, 1.1], first row on top, on the CPU.

    Raises:
        GancoreError: The data are no points in the plane, there is no discriminator on them, or it has no such head of one
            logit.
    """
    _check(run)
    across = torch.linspace(-REACH, REACH, resolution, device=run.device)
    grid = torch.stack(torch.meshgrid(across, across.flip(0), indexing="xy"), dim=-1).view(-1, 2, 1, 1)
    modules = [run.networks["discriminator"], run.heads[HEAD]]
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        field = torch.cat([_logit(run, chunk) for chunk in grid.split(10_000)])
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
    return field.view(resolution, resolution).cpu()


def _logit(run: Run, images: Tensor) -> Tensor:
    # Of a class without an image the head has learned nothing.
    classes = [k for k, count in enumerate(run.batches.class_counts) if count]
    with run.autocast():
        features = run.networks["discriminator"](images)
        said = [run.heads[HEAD](features, torch.full((len(images),), k, device=run.device)).float() for k in classes]
    if said[0].shape != (len(images),):
        raise gancore.GancoreError(
            f"{run.recipe.name}: the head {HEAD!r} gives {tuple(said[0].shape[1:])} values per point; a field needs one logit."
        )
    return torch.stack(said).mean(0)


def _check(run: Run) -> None:
    info, name = run.plan.info, run.recipe.name
    if (info.channels, info.image_size) != (2, 1):
        raise gancore.GancoreError(
            f"{name} is no run on points in the plane: its images are {info.channels} x {info.image_size} x "
            f"{info.image_size}; draw the field of a run whose data are, such as dsgan/swiss-roll."
        )
    for network in ("generator", "discriminator"):
        if network not in run.networks:
            raise gancore.GancoreError(f"{name} has no {network}, and a field shows both players; choose the run of a GAN.")
    on = run.plan.stands_on
    if on is not None:
        raise gancore.GancoreError(
            f"{name}: the discriminator sees features of {on!r}, not the plane; choose a run whose discriminator sees points."
        )
    if HEAD not in run.heads:
        raise gancore.GancoreError(
            f"{name} has no head {HEAD!r}, whose output is the field (it has: {', '.join(sorted(run.heads)) or 'none'}); "
            f"name it so in the recipe, [heads.{HEAD}]."
        )


@click.command("field")
@click.argument("run", type=path_type)
@click.option("--out", type=path_type, help="PNG file to write.  [default: RUN/field.png]")
@click.option(
    "--points", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Data, and samples, at the most."
)
@click.option("--size", type=click.IntRange(200, 4000), default=600, show_default=True, help="Width of the picture in pixels.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")
def command(run: Path, out: Path | None, points: int, size: int, device: str) -> None:
    """Draw the data, the samples and the discriminator of a run on points in the plane."""
    from gancore_standard.tools import save_picture
    from gancore_training import open_run, sample

    from gancore.tools import choose_device, registry, to_unit

    opened = open_run(run, registry(), choose_device(device))
    field = discriminator_field(opened)
    images = opened.batches.selection[0]
    # Evenly over the set, whose order may be by class.
    chosen = torch.linspace(0, len(images) - 1, min(points, len(images)), dtype=torch.float64).round().long()
    generated, _ = sample(opened, points)
    path = out or run / "field.png"
    save_picture(draw(field, to_unit(images[chosen]).flatten(1), generated.flatten(1), size=size), path)
    click.echo(f"The field is in {path}")
