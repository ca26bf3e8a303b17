"""The command ``gancore convert``. Importing this module imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from gancore import GancoreError

_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers of a network (several GPUs, `torch.compile`) put before every name of its state."""

_MOST_NAMED = 8


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: FILE with the ending .safetensors]")
@click.option(
    "--key", help="Where in the file the state dict lies, e.g. state_dict or g_ema.  [default: where there is only one]"
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
    click.echo(f"{len(plain)} tensors{where}, in {shlex.quote(str(target))}")


def chosen(file: Path, content: Any, key: str | None) -> tuple[str, dict[str, Any]]:
    """Return the name and the state dict that is meant in a file's content.

    Raises:
        GancoreError: There is none, or several, or none of that name.
    """
    from gancore_standard.torch_files import is_state

    if key is None and is_state(content):
        return "", dict(content)
    states = {str(k): v for k, v in content.items() if is_state(v)} if isinstance(content, dict) else {}
    choices = ", ".join([*states][:_MOST_NAMED])
    if not states:
        raise GancoreError(f"{file} holds no state dict (tensors by name); save one by torch.save(network.state_dict(), path).")
    if key is None and len(states) > 1:
        raise GancoreError(f"{file} holds several state dicts; choose one by --key: {choices}.")
    name = next(iter(states)) if key is None else key
    if name not in states:
        raise GancoreError(f"{file} holds no state dict {name!r}; it has: {choices}.")
    return name, dict(states[name])


def without_prefixes(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state dict without what wrappers put before every name."""
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
