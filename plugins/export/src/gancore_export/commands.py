"""The commands ``gancore export`` and ``gancore walk``. Importing this module imports no torch."""

from __future__ import annotations

from pathlib import Path

import click
from gancore_training import at_option, device_option, numbers, path_type, trust_local_option, with_local_code

from gancore import GancoreError
from gancore.tools import say

weights_option = click.option(
    "--weights", default="ema", show_default=True, help="ema, live, or a further average of the recipe."
)


@click.command()
@click.argument("run", type=path_type)
@click.option("--out", type=path_type, required=True, help="A new folder.")
@weights_option
@at_option
@click.option("--to-hub", "name", metavar="OWNER/NAME", help="Upload it to the Hugging Face Hub too.")
@click.option("--private", is_flag=True, help="Where --to-hub makes a repository, make a private one.")
@trust_local_option
def export(run: Path, out: Path, weights: str, at: str | None, name: str | None, private: bool, trust_local: bool) -> None:
    """Write a run's generator with everything that is needed to use it without gancore.

    That is its weights, a program of torch.export (and ONNX, where onnx and onnxscript are installed) for any number of images,
    a script that needs torch alone, and a model card. The programs' images are compared with the generator's.
    """
    if private and name is None:
        raise GancoreError("--private is about what --to-hub makes; name a repository by --to-hub OWNER/NAME, or leave it out.")
    from gancore_training import Terminal, open_run

    from gancore.tools import choose_device
    from gancore_export import upload
    from gancore_export.exporting import export as write_export
    from gancore_export.hub import check_hub

    if name is not None:
        check_hub()
    opened = open_run(run, with_local_code(trust_local), choose_device("cpu"), Terminal(), bare=True, at=at)
    exported = write_export(opened, out, weights=weights)
    for program, difference in exported.differences.items():
        say(f"{program}: images differ from gancore's by at most {difference:.1e}")
    if exported.without:
        say(exported.without)
    say(f"The generator of iteration {opened.iteration} is in {out}. To use it: python {out / 'generate.py'}")
    if name is not None:
        say(f"It is at {upload(out, name, private=private)} too.")


@click.command()
@click.argument("run", type=path_type)
@click.option("--out", type=path_type, help="File, x.gif or x.mp4.  [default: RUN/walk.gif]")
@click.option("--n", "tiles", type=click.IntRange(1, 400), default=16, show_default=True, help="Images side by side.")
@click.option("--stops", type=click.IntRange(2, 1000), default=4, show_default=True, help="Latents that each comes by.")
@click.option("--frames", type=click.IntRange(1, 1000), default=24, show_default=True, help="Frames from one to the next.")
@click.option("--rate", type=click.IntRange(1, 60), default=24, show_default=True, help="Frames a second.")
@click.option("--classes", metavar="K,K,...", help="Labels to ask a conditional generator for, in turn over the images.")
@click.option("--through-classes", is_flag=True, help="Go from class to class, where the generator embeds them.")
@click.option("--loop/--no-loop", default=True, show_default=True, help="End where it began.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the latents.")
@weights_option
@at_option
@trust_local_option
@device_option
def walk(
    run: Path,
    out: Path | None,
    tiles: int,
    stops: int,
    frames: int,
    rate: int,
    classes: str | None,
    through_classes: bool,
    loop: bool,
    seed: int,
    weights: str,
    at: str | None,
    trust_local: bool,
    device: str,
) -> None:
    """Write an animation of images that go from latent to latent.

    Normal latents go along great circles, others so that each frame is a draw of their own distribution. Classes stay, or are
    gone through too.
    """
    wanted = numbers(classes, "--classes")
    from gancore_training import Terminal, open_run

    from gancore.tools import choose_device
    from gancore_export import Walk, write_animation
    from gancore_export.animations import writer
    from gancore_export.walking import walk as frames_of

    path = out or run / "walk.gif"
    writer(path)
    replaced = path.is_file()
    how = Walk(
        tiles=tiles,
        stops=stops,
        frames=frames,
        loop=loop,
        classes=wanted,
        through_classes=through_classes,
        seed=seed,
    )
    opened = open_run(run, with_local_code(trust_local), choose_device(device), Terminal(), bare=True, at=at)
    write_animation(frames_of(opened, how, weights=weights), path, rate=rate, loop=loop)
    place = ", in place of what was there" if replaced else ""
    say(f"A walk of {how.length} frames, by the generator of iteration {opened.iteration}, is in {path}{place}")
