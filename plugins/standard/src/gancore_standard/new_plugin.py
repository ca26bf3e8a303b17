"""``gancore new-plugin``: a working plugin package with a test, to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
from gancore_training import path_type

from gancore import GancoreError
from gancore.tools import registry, write_text, writing

TEMPLATE = Path(__file__).with_name("template")
"""The package's files, each with ``.txt`` behind its name; @NAME@ and @MODULE@ in names and texts stand for the plugin's."""

TAKEN = ("core", "gancore", "torch")
"""Names that no plugin may have."""


@click.command("new-plugin")
@click.argument("name")
@click.option("--to", "folder", type=path_type, help="Where to write it.  [default: gancore-plugin-NAME]")
def new_plugin(name: str, folder: Path | None) -> None:
    """Write a working plugin with a test, to start from."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise GancoreError(f"{name!r} can't be a plugin's name: use lower-case letters, digits and dashes, e.g. r1.")
    if name in TAKEN or name in {plugin.name for plugin in registry().plugins()}:
        raise GancoreError(
            f"{name!r} is the name of something that is installed, and neither would be used; choose another name."
        )
    path = folder or Path(f"gancore-plugin-{name}")
    if path.exists():
        raise GancoreError(f"{path} exists already; choose another --to.")

    def fill(text: str) -> str:
        return text.replace("@NAME@", name).replace("@MODULE@", name.replace("-", "_"))

    with writing(path, "choose another --to"):
        path.mkdir(parents=True)
    for file in sorted(TEMPLATE.rglob("*.txt")):
        target = path / fill(str(file.relative_to(TEMPLATE)).removesuffix(".txt"))
        write_text(target, fill(file.read_text(encoding="utf-8")))
    click.echo(
        f"The plugin is in {path}. To try it: pip install -e {shlex.quote(f'{path}[test]')} && pytest {shlex.quote(str(path))}"
    )
