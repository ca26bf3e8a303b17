"""The command that lists the installed plugins. Imports no torch."""

from __future__ import annotations

import click

from gancore.errors import NO_PLUGIN
from gancore.registry import registry
from gancore.showing import say


@click.command()
def plugins() -> None:
    """List the installed plugins, and what is wrong with them."""
    installed = registry()
    if not installed.plugins():
        say(NO_PLUGIN)
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


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"
