"""The command ``gancore convert``. Importing this module imports no torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from gancore import GancoreError
from gancore.tools import shown

_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers of a network (several GPUs, `torch.compile`) put before every name of its state."""

_MOST_NAMED = 8

_AVERAGES = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
_NETWORKS = re.compile(r"(^|\.)(state_dict|model_state_dict|model|net|network|params|weights|generator)$", re.IGNORECASE)
"""Usual names of the state dicts in training programs' files: of averages, and of the network that is meant."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: FILE with the ending .safetensors]")
@click.option(
    "--key", help="Where in the file the state dict lies, e.g. g_ema or models.net.  [default: where it mostly is; it is said]"
)
def convert(file: Path, out: Path | None, key: str | None) -> None:
    """Convert weights of torch.save (.pth, .pt, .ckpt) to safetensors, as a recipe's weights are. No code in FILE is run."""
    from gancore.tools import write_tensors
    from gancore_standard.torch_files import read_state

    target = file.with_suffix(".safetensors") if out is None else out
    if target.exists():
        raise GancoreError(f"{target} is there already; choose another file by --out.")
    name, state = chosen(file, read_state(file), key)
    plain = without_prefixes(state)
    try:
        write_tensors(target, plain, {"converted_from": file.name, "key": name})
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise GancoreError(
            f"{file} holds tensors that safetensors can't ({type(error).__name__}); convert them first."
        ) from error
    where = f" of {name}" if name else ""
    removed = _removed(state, plain)
    where += f", without the prefix {removed!r}" if removed else ""
    click.echo(f"{len(plain)} tensors{where}, in {shlex.quote(str(target))}")


def chosen(file: Path, content: Any, key: str | None) -> tuple[str, dict[str, Any]]:
    """Return the name and the state dict that is meant in a file's content.

    Of several, without a key, an average is meant before what it averages, and the network's before an optimizer's.

    Raises:
        GancoreError: There is none, or several that may be meant, or none of that name.
    """
    states = {name: state for name, state in states_in(content) if name or key is None}
    choices = ", ".join([*states][:_MOST_NAMED])
    if not states:
        raise GancoreError(f"{file} holds no state dict (tensors by name); save one by torch.save(network.state_dict(), path).")
    usual = ([name for name in states if pattern.search(name)] for pattern in (_AVERAGES, _NETWORKS))
    meant = [key] if key is not None else [*states] if len(states) == 1 else next(filter(None, usual), [*states])
    if len(meant) > 1:
        raise GancoreError(f"{file} holds several state dicts; choose one by --key: {choices}.")
    if meant[0] not in states:
        raise GancoreError(f"{file} holds no state dict {shown(meant[0])}; it has: {choices}.")
    return meant[0], states[meant[0]]


def states_in(content: Any, name: str = "", depth: int = 3) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every state dict in a file's content with its place, e.g. ``models.g_ema``; empty for all of it."""
    from gancore_standard.torch_files import is_state

    if is_state(content):
        yield name, dict(content)
    elif isinstance(content, Mapping) and depth:
        for key, value in content.items():
            if isinstance(key, str):
                yield from states_in(value, f"{name}.{key}" if name else key, depth - 1)


def without_prefixes(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state dict without what wrappers put before every name."""
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _removed(state: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    before, after = next(iter(state)), next(iter(plain))
    return before.removesuffix(after)
