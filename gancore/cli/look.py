"""The commands that list what is installed. Imports no torch."""

from __future__ import annotations

import click

from gancore.cli.printing import aligned, say
from gancore.contract import KINDS
from gancore.errors import NO_PLUGIN, GancoreError, did_you_mean, listed
from gancore.registry import Registry, registry


@click.command()
@click.argument("kind", required=False)
def components(kind: str | None) -> None:
    """List the installed components, of one KIND or all.

    The kinds are loss, head, sampler, network and so on.
    """
    if kind is not None and kind not in KINDS:
        raise GancoreError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)} (the kinds: {listed(KINDS)}).")
    installed = _installed()
    for name in [kind] if kind else KINDS:
        declared = sorted(installed.components(name), key=lambda component: component.full_name)
        rows = [(c.full_name, f"{c.summary}  [{c.cite}]" if c.cite else c.summary) for c in declared]
        for line in [f"{name}:", *aligned(rows, indent=2)] if rows else ():
            say(line)


@click.command()
def plugins() -> None:
    """List the installed plugins, and what is wrong with them."""
    installed = _installed()
    owners = [name.split("/")[0] for name in installed.recipes()]
    for plugin in installed.plugins():
        numbers = {kind: len(declared) for kind, declared in plugin.components.items()}
        numbers |= {"recipe": owners.count(plugin.name)}
        counts = [_counted(number, kind) for kind, number in numbers.items() if number]
        counts += [f"observes (--track {plugin.name})"] if plugin.observes else []
        state = "broken" if plugin.problem else ", ".join(counts) or "declares nothing"
        say(f"{plugin.name:16} {plugin.distribution} {plugin.version}: {state}")
        for line in filter(None, (plugin.problem, *plugin.warnings)):
            say(f"{'':16} {line}")


def _installed() -> Registry:
    """Return the registry, and tell where nothing is installed."""
    if not registry().plugins():
        say(NO_PLUGIN)
    return registry()


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"
