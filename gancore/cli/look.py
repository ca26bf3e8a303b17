"""The commands that train nothing: what is installed, what a recipe means, and a first plugin. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gancore.cli.options import recipe_options, reports_errors
from gancore.contract import KINDS
from gancore.errors import NO_PLUGIN, GancoreError, did_you_mean, listed
from gancore.files import toml
from gancore.recipe import read, registry


@click.command()
@reports_errors
def recipes() -> None:
    """List the installed recipes."""
    _tell_where_nothing_is_installed()
    paths = registry().recipes()
    width = max(map(len, paths), default=0)
    for name, path in sorted(paths.items()):
        try:
            summary = toml.read(path).get("summary", "")
        except GancoreError as error:
            summary = f"(broken: {error})"
        click.echo(f"{name:{width}}  {summary}")


@click.command()
@click.argument("kind", required=False)
@reports_errors
def components(kind: str | None) -> None:
    """List the installed components, of one KIND (loss, head, sampler, network and so on) or all."""
    if kind is not None and kind not in KINDS:
        raise GancoreError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)} (the kinds: {listed(KINDS)}).")
    _tell_where_nothing_is_installed()
    for name in [kind] if kind else KINDS:
        declared = sorted(registry().components(name), key=lambda c: c.full_name)
        if not declared:
            continue
        click.echo(f"{name}:")
        width = max(len(component.full_name) for component in declared)
        for component in declared:
            cite = f"  [{component.cite}]" if component.cite else ""
            click.echo(f"  {component.full_name:{width}}  {component.summary}{cite}")


@click.command()
@reports_errors
def plugins() -> None:
    """List the installed plugins, and what is wrong with the broken ones."""
    _tell_where_nothing_is_installed()
    names = registry().recipes()
    for plugin in registry().plugins():
        counts = [_counted(len(declared), kind) for kind, declared in plugin.components.items()]
        number = sum(name.startswith(f"{plugin.name}/") for name in names)
        counts += [_counted(number, "recipe")] if number else []
        state = "broken" if plugin.problem else ", ".join(counts) or "declares nothing"
        click.echo(f"{plugin.name:16} {plugin.distribution} {plugin.version}: {state}")
        for line in [*([plugin.problem] if plugin.problem else []), *plugin.warnings]:
            click.echo(f"{'':16} {line}")


def _tell_where_nothing_is_installed() -> None:
    if not registry().plugins():
        click.echo(NO_PLUGIN)


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"


@click.command()
@click.argument("name")
@reports_errors
def show(name: str) -> None:
    """Show a component (settings, documentation, citation) or a recipe (resolved)."""
    from gancore.cli.show import describe

    click.echo(describe(name, registry()))


@click.command()
@click.argument("recipe")
@recipe_options
@reports_errors
def explain(recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...]) -> None:
    """Print a recipe's plan: phases, passes, parts, versions, conflicts. Nothing is trained."""
    from gancore.cli.explain import explain as explain_plan
    from gancore.plan import make_plan

    checked = read(recipe, registry(), overlays=overlays, assignments=assignments)
    click.echo(explain_plan(make_plan(checked, registry())))


@click.command("new-plugin")
@click.argument("name")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where to write it.  [default: gancore-plugin-NAME]")
@reports_errors
def new_plugin(name: str, folder: Path | None) -> None:
    """Write a working plugin package with a test, to start from."""
    from gancore.cli.scaffold import write_plugin

    path = write_plugin(name, folder or Path(f"gancore-plugin-{name}"))
    click.echo(f"The plugin is in {path}. To try it: pip install -e {path} && pytest {path}")


@click.command()
@reports_errors
def doctor() -> None:
    """Print versions, device, bfloat16 support, and what plugins lack or have found."""
    from gancore.cli.doctor import examine

    lines, healthy = examine(registry())
    click.echo("\n".join(lines))
    if not healthy:
        sys.exit(1)
