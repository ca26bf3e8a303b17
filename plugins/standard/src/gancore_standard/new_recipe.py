"""``gancore new-recipe``: looks at a folder of images and writes a recipe for them, which says why it is as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
from gancore_training import aligned, command_line, path_type

from gancore import GancoreError

if TYPE_CHECKING:
    from gancore_standard.folder_survey import Survey

SIZES = (8, 16, 32, 64, 128)
"""Sizes that are chosen; the networks take any power of two of at least 8."""

BASES = {32: ("standard/base-32", 64, 20_000), 64: ("standard/base-64", 64, 50_000), 128: ("standard/base-128", 32, 100_000)}
"""Largest size -> the recipe for it, the images of a batch and the iterations; the last one is for all beyond too."""

ENLARGED = 4 / 3
"""Images are enlarged up to so many times, rather than made half as large."""

MOST_CLASSES = 1000
LEAST_OF_A_CLASS = 20
"""A generator obeys labels where there are no more classes, and on average no fewer images of each."""

PASSES = 300
"""Times that few images are gone through; then a discriminator knows them by heart."""

LEAST_ITERATIONS = 2000
LEAST_TESTED = 1000
"""Test images from which on scores compare with these rather than with those to train on."""


@attrs.frozen
class Choices:
    """What is chosen for a folder.

    Attributes:
        size: Pixels a side.
        channels: 1 or 3.
        base: The recipe that is extended.
        batch: Images a batch.
        iterations: Length of the training.
        conditional: Whether the generator is told a class.
        scored: Whether scores of the recipe's own classifier are computed.
        small: Whether the networks are narrow and the training short.
    """

    size: int
    channels: int
    base: str
    batch: int
    iterations: int
    conditional: bool
    scored: bool
    small: bool


@click.command("new-recipe")
@click.argument("folder", type=path_type)
@click.option("--out", type=path_type, help="The file.  [default: FOLDER's name with .toml, here]")
@click.option("--size", type=click.IntRange(8, 1024), help="Pixels a side, a power of two.  [default: by the images]")
@click.option("--labels/--no-labels", default=None, help="Whether folders are classes.  [default: where there are folders]")
@click.option(
    "--conditional/--unconditional", default=None, help="Whether classes can be asked for.  [default: by their counts]"
)
@click.option("--small", is_flag=True, help="Narrow networks and 1,000 iterations: minutes on a CPU.")
def new_recipe(
    folder: Path, out: Path | None, size: int | None, labels: bool | None, conditional: bool | None, small: bool
) -> None:
    """Write a recipe for a FOLDER of images, a folder per class or none.

    The file says what the folder holds and why each choice is made; `gancore train` takes it as it is.
    """
    if size is not None and size & (size - 1):
        raise GancoreError(f"--size {size} is no power of two, which the networks need; write 32, 64 or 128, for example.")
    from gancore.tools import make_plan, read, registry, say, write_text
    from gancore_standard.folder_survey import survey

    path = out or Path(f"{re.sub(r'[^a-z0-9]+', '-', folder.resolve().name.lower()).strip('-') or 'images'}.toml")
    if path.suffix != ".toml":
        raise GancoreError(f"--out {path} must end in .toml, by which a recipe's file is known.")
    if path.exists():
        raise GancoreError(f"{path} exists already; choose another --out.")
    looked = survey(folder, labels=labels)
    choices = choose(looked, size=size, conditional=conditional, small=small)
    write_text(path, "\n".join(recipe_text(looked, choices)) + "\n")
    try:
        make_plan(read(str(path.absolute()), registry()), registry())
    except GancoreError:
        path.unlink()
        raise
    for line in aligned(looked.told()):
        say(line)
    for line in choices_told(looked, choices):
        say(f"- {line}")
    say(f"The recipe is in {path}. To see its plan: {command_line('explain', path)}")
    say(f"To train it: {command_line('train', path)}")


def choose(looked: Survey, *, size: int | None = None, conditional: bool | None = None, small: bool = False) -> Choices:
    """Return what suits a folder, as far as counts and sizes tell.

    Raises:
        GancoreError: Classes are wanted where there are none.
    """
    classes = len(looked.classes)
    if conditional and classes < 2:
        raise GancoreError(f"{looked.path} has no classes to ask for; put the images of each in a folder of its own.")
    side = size or max((one for one in SIZES if one <= ENLARGED * looked.side), default=SIZES[0])
    base, batch, length = BASES[min((most for most in BASES if side <= most), default=max(BASES))]
    batch = min(batch, 2 ** int(math.log2(looked.train)))
    passes = PASSES * looked.train / batch
    iterations = 1000 if small else max(LEAST_ITERATIONS, min(length, round(passes, -int(math.log10(passes)) + 1)))
    enough = 2 <= classes <= MOST_CLASSES and looked.train >= LEAST_OF_A_CLASS * classes
    return Choices(
        size=side,
        channels=1 if looked.gray else 3,
        base=base,
        batch=max(batch, 2),
        iterations=int(iterations),
        conditional=enough if conditional is None else conditional,
        scored=enough,
        small=small,
    )


def choices_told(looked: Survey, choices: Choices) -> Iterator[str]:
    """Yield what is chosen and why, a sentence each."""
    yield f"{choices.size} px, a power of two: the images' shorter side is mostly {looked.side}"
    yield f"{choices.channels} channel{'s: some images have color' if choices.channels == 3 else ': all images are gray'}"
    narrow = ", a quarter as wide" if choices.small else ""
    yield f"networks of {choices.base}{narrow}; {choices.iterations:,} iterations of {choices.batch} images"
    classes = len(looked.classes)
    if choices.conditional:
        yield f"conditional: {classes:,} classes can be asked for"
    elif classes > 1:
        yield f"unconditional: {_why_unconditional(looked, choices)}"
    if classes > 1 and looked.imbalance >= 1.5:
        yield f"imbalanced: the largest class has {looked.imbalance:.1f} times the images of the smallest"
    if not choices.scored:
        yield "no scores: too few images a class for a classifier; the file says how to score by Inception"


def _why_unconditional(looked: Survey, choices: Choices) -> str:
    classes = len(looked.classes)
    if choices.scored:  # there are enough images of each
        return "it was asked for"
    if classes > MOST_CLASSES:
        return f"{classes:,} classes are too many to be learned apart"
    return f"with {looked.train / classes:.0f} images or so of each, classes are not learned apart"


def recipe_text(looked: Survey, choices: Choices) -> Iterator[str]:
    """Yield the lines of a recipe's file."""
    from gancore.tools import plain, toml
    from gancore_standard.folder_survey import TEST_FRACTION

    def line(key: str, value: object) -> str:
        return toml.dumps({key: value}).strip()

    yield f"# Written by `gancore new-recipe`. {plain(looked.path.resolve().name)}:"
    yield from (f"#   {word:12} {plain(text)}" for word, text in looked.told())
    yield from ("# What follows from that:", *(f"#   - {plain(one)}" for one in choices_told(looked, choices)))
    yield f"# The other settings: {command_line('show', choices.base)}"
    yield line("extends", choices.base)
    kind = "with classes" if choices.conditional else "without classes"
    yield line("summary", f"{plain(looked.path.resolve().name)[:60]}: {choices.size} px, a plain GAN {kind}")
    yield from ("", "[run]", line("iterations", choices.iterations), line("batch_size", choices.batch))
    every = max(choices.iterations // 10, 1)
    yield from (line("sample_every", every), line("checkpoint_every", every))
    if choices.scored:
        yield line("evaluate_every", every)
    decay = line("decay", 0.99 if choices.small else 0.999)
    yield from ("", "# Samples and scores are of the generator's moving average.", "[ema]", decay)
    yield line("start", max(choices.iterations // 20, 1))
    yield from ("", "[data]", line("path", str(looked.path.resolve())), line("image_size", choices.size))
    yield line("channels", choices.channels)
    if not looked.labels:
        yield line("labels", False)
    if not looked.split:
        yield "# So many are kept apart to test on; or give the folder train/ and test/."
        yield line("test_fraction", TEST_FRACTION if looked.test else 0.0)
    yield "# flip = true  # mirrors images at random: right for most photographs, wrong for writing"
    yield from _networks_text(looked, choices)
    yield from _scores_text(looked, choices)


def _networks_text(looked: Survey, choices: Choices) -> Iterator[str]:
    """Yield the tables of networks, the head and samplers."""
    if choices.small or choices.conditional:
        yield from ("", "[networks.generator]")
        yield from ["width = 0.25"] * choices.small
        yield from ["conditional = true  # it obeys labels"] * choices.conditional
    if choices.small:
        yield from ("", "[networks.discriminator]", "width = 0.25")
    if choices.conditional:
        yield from ("", "# One logit, given the label.", "[heads.adversarial]", 'use = "standard/projection"')
    if len(looked.classes) > 1 and looked.imbalance >= 1.5:
        yield from ("", "# Draws every class equally often in place of as often as it is there.")
        yield from ("# [samplers.balanced]", '# use = "standard/class-balanced"')


def _scores_text(looked: Survey, choices: Choices) -> Iterator[str]:
    """Yield the tables of scores."""
    samples = max(500, min(10_000, looked.train))
    split = "test" if looked.test >= LEAST_TESTED else "train"
    yield from ("", "[evaluation]", f"samples = {samples}")
    yield f'split = "{split}"{"" if split == "test" else f"  # {looked.test:,} test images are too few to compare with"}'
    if choices.scored:
        yield from (
            "",
            "# A small classifier of these classes, trained first; its scores compare runs of this recipe with each other.",
        )
        yield from ("[networks.annotator]", 'use = "standard/small-cnn"', 'trained_by = "standard/base-annotator"')
        yield 'inherits = ["data"]'
        yield from ['trained_with = ["run.iterations=200"]'] * choices.small
        yield from ("", "[metrics.fid]", 'use = "standard/fid"', 'network = "annotator"')
        yield from ("", "[metrics.classes]", 'use = "standard/class-histogram"', 'network = "annotator"')
    yield from ("", "# Scores as papers have them, by Inception (2048 features: of few images a distance says little):")
    yield "#   pip install 'gancore-plugin-standard[inception]', and train with --with standard/inception"
