"""``gancore show``: a component with its settings, documentation and citation, or a resolved recipe."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gancore.contract import CONTEXT, settings_of
from gancore.errors import GancoreError, did_you_mean
from gancore.files import toml
from gancore.recipe import read_layer

if TYPE_CHECKING:
    from gancore.recipe import Declared, Registry


def describe(name: str, registry: Registry) -> str:
    """Return what there is to know of a component or recipe, by its full or bare name.

    Raises:
        GancoreError: Nothing is called so.
    """
    components = [c for c in registry.components() if name in (c.full_name, c.name)]
    recipes = [recipe for recipe in registry.recipes() if name == recipe or name == recipe.split("/")[1]]
    pieces = ["\n".join(_component(component, registry)) for component in components]
    pieces += ["\n".join(_recipe(recipe, registry)) for recipe in recipes]
    if not pieces and name.endswith(".toml") and Path(name).is_file():
        pieces = ["\n".join(_recipe(name, registry))]
    if not pieces:
        known = [*registry.recipes(), *(c.full_name for c in registry.components())]
        raise GancoreError(
            f"no component or recipe is called {name!r}{did_you_mean(name, known)}; "
            "see `gancore components` and `gancore recipes`."
        )
    return "\n\n".join(pieces)


def _component(component: Declared, registry: Registry) -> Iterator[str]:
    yield f"{component.full_name}: {component.kind}"
    yield f"  {component.summary}"
    if component.cite:
        yield f"  cite: {component.cite}"
    yield f"  from {component.target} of {component.distribution} {component.version}"
    loaded = registry.load(component)
    if component.kind == "command":
        return
    settings = settings_of(loaded) if inspect.isclass(loaded) else {}
    if settings:
        yield ""
        yield "  Settings"
        width = max(map(len, settings))
        for setting in settings.values():
            if not setting.required:
                default = f"default {setting.default!r}"
            else:
                default = "given by gancore" if setting.name in CONTEXT else "required"
            yield f"    {setting.name:{width}}  {setting.allowed} ({default})"
    documentation = inspect.getdoc(loaded)
    if documentation:
        yield ""
        yield from (f"  {line}".rstrip() for line in documentation.splitlines())


def _recipe(name: str, registry: Registry) -> Iterator[str]:
    layer = read_layer(name, registry)
    yield f"{name}: recipe" + (f", extends {' < '.join(layer.chain[:-1])}" if len(layer.chain) > 1 else "")
    yield ""
    yield toml.dumps(layer.table).rstrip()
