"""The command ``gancore prepare``. Importing this module imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from gancore_training import path_type

from gancore import GancoreError


def _part(_ctx: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise GancoreError(f"--part {text!r} is no part; write it as 1/4, 2/4, ... 4/4.")
    return int(first), int(last)


@click.command()
@click.argument("source", metavar="SRC")
@click.option("--out", type=path_type, required=True, help="The store's folder.")
@click.option("--size", type=click.IntRange(1, 4096), help="Height and width of the images.  [default: the source's]")
@click.option(
    "--encoding",
    type=click.Choice(["pixels", "files", "webp", "jpeg95"]),
    default="pixels",
    show_default=True,
    help="pixels, webp: exact. files: as they are, exact. jpeg95: changes the images, as scores then say.",
)
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting of the source, e.g. channels=1.")
@click.option("--part", default="1/1", metavar="K/N", callback=_part, help="Write a part alone, e.g. in an array of jobs.")
@click.option("--workers", type=click.IntRange(1), help="Processes that write.  [default: a process a core, at most 8]")
def prepare(
    source: str,
    out: Path,
    size: int | None,
    encoding: str,
    assignments: tuple[str, ...],
    part: tuple[int, int],
    workers: int | None,
) -> None:
    """Write the images of SRC, a folder or a data set of `gancore components dataset`, as a store that trainings read.

    Any number of these commands may write one store at a time. What is written stays: after an interruption the same command
    goes on, and of a whole store it writes anew what is damaged.
    """
    from gancore_standard.tools import workers_here

    from gancore_store.preparing import Job, begin, finish, mend, refuse_changed, splits_of, write

    dataset, name = _dataset(source, size, assignments)
    splits, no_test = splits_of(dataset, encoding)
    job = Job(out, encoding, splits)
    about = begin(job, dataset, name)
    broken = mend(job)
    if broken:
        click.echo(f"{broken} shards of {out} are damaged, and are written anew.", err=True)

    def tell(done: int, number: int) -> None:
        click.echo(f"{done} of {number} shards are there", err=True)

    whole = write(job, part, workers or workers_here(), tell)
    if not whole:
        click.echo(f"Part {part[0]} of {part[1]} is written; {len(job.missing())} shards of {out} are left to the others.")
        return
    refuse_changed(job, dataset)
    finish(job, about)
    numbers = ", ".join(f"{len(split.labels)} images to {split_name}" for split_name, split in splits.items())
    click.echo(f"{out} is whole: {numbers}.")
    if no_test:
        click.echo(f"Note: it has no test split ({no_test})", err=True)
    click.echo(f"Train on it by --set data.use=store/prepared --set {shlex.quote(f'data.path={out}')}")


def _dataset(source: str, size: int | None, assignments: tuple[str, ...]) -> tuple[Any, str]:
    """Return the image set that a folder or a name stands for, and its full name."""
    from gancore_standard.tools import expand_user

    from gancore.tools import assigned, check, registry, settings_of

    components = registry()
    path = expand_user(source)
    is_folder = path.is_dir()
    where = f"gancore prepare {source}"
    try:
        declared = components.component("dataset", "standard/image-folder" if is_folder else source, where=where)
    except GancoreError as error:
        if is_folder or not (path.exists() or path.is_absolute() or (len(path.parts) > 1 and path.parent.is_dir())):
            raise
        raise GancoreError(
            f"{source} is no folder of images, and no data set of `gancore components dataset`; correct SRC."
        ) from error
    cls = components.load(declared)
    settings = assigned({}, assignments)
    known = settings_of(cls)
    if is_folder:
        settings["path"] = source
    if "keep" in known:
        settings.setdefault("keep", "nothing")
    if size is not None:
        if "image_size" not in known:
            raise GancoreError(f"{declared.full_name} has images of one size; leave out --size.")
        settings["image_size"] = size
    return cls(**check(cls, settings, where=where)), declared.full_name
