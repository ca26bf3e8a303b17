"""Completion in a shell: of recipes, fragments, keys and names, and the command that prints its script. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import click
from click.shell_completion import CompletionItem, get_completion_class

from gancore import GancoreError
from gancore.tools import GROUPS, KEYS, TABLES, Average, Evaluation, RunSettings, is_path, leaves, read_layer, registry

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that has a SHELL complete commands, recipes, fragments, keys and names.

    \b
        eval "$(gancore completion bash)"       # in ~/.bashrc
        eval "$(gancore completion zsh)"        # in ~/.zshrc
        gancore completion fish | source        # in ~/.config/fish/config.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(click.get_current_context().find_root().command, {}, "gancore", "_GANCORE_COMPLETE").source())


def complete_recipe(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a recipe, or of a file."""
    if incomplete and is_path(incomplete):
        return [CompletionItem(incomplete, type="file")]
    return [*_starting(incomplete, registry().recipes()), *([CompletionItem(incomplete, type="file")] if incomplete else [])]


def complete_fragment(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a fragment; where none begins so, of any recipe."""
    from gancore_training.listing import listing

    fragments = _starting(incomplete, (one.name for one in listing(registry()) if one.fragment))
    return fragments or complete_recipe(ctx, parameter, incomplete)


def complete_key(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a key of the command's recipe, of its tables, and of those whose keys core handles."""
    keys = {f"{table}.{key}=" for table, key in _fixed()}
    # An option that still waits for its value leaves the arguments before it unread.
    name = ctx.params.get("recipe") or next(iter(ctx.args), None)
    if isinstance(name, str):
        try:
            table = read_layer(name, registry()).table
        except GancoreError:
            table = {}
        keys |= {f"{'.'.join(path)}=" for path, _ in leaves(table)}
        labeled = {(group, label) for group in GROUPS for label in table.get(group) or () if group in KEYS}
        keys |= {f"{group}.{label}.{key}=" for group, label in labeled for key in attrs.fields_dict(KEYS[group])}
    return _starting(incomplete, (key for key in keys if "." in key))


def complete_name(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a table, a component or a recipe."""
    return _starting(incomplete, [*TABLES, *(one.full_name for one in registry().components()), *registry().recipes()])


def _fixed() -> Iterator[tuple[str, str]]:
    """Yield tables and keys that any recipe has."""
    for table, cls in {"run": RunSettings, "ema": Average, "evaluation": Evaluation, "data": KEYS["data"]}.items():
        yield from ((table, key) for key in attrs.fields_dict(cls))


def _starting(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
