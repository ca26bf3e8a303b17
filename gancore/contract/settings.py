"""A component's settings: read off its constructor, checked before anything is built.

The keyword-only parameters of a component's constructor, with annotations and defaults, are its settings; of an optimizer,
whose first one is called ``params``, all others. Annotations that are understood: ``bool``, ``int``, ``float``, ``str``,
``Literal[...]``, ``X | None``, ``list[X]``, ``tuple[X, ...]``, ``dict[str, X]``, and any of them as
``Annotated[X, Range(...)]``.
"""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, Union

import attrs

from gancore.errors import GancoreError, did_you_mean, listed, shown

CONTEXT = (
    "classes",
    "attributes",
    "channels",
    "image_size",
    "latent_dim",
    "features",
    "spectral_norm",
    "batch_size",
    "iterations",
    "class_counts",
    "group_size",
)
"""Constructor arguments that core supplies where the recipe does not set them."""

LARGEST = 99_999_999
"""The largest whole number of a setting, seeds apart; names of checkpoints have eight digits."""
FINITE = 3.4e38  # The largest of any other setting: tensors are float32.


@attrs.frozen
class Range:
    """Bounds of a number, for ``Annotated[float, Range(0, 1)]``; inclusive unless said otherwise.

    Args:
        low: Least value, or None for none.
        high: Greatest value, or None for none.
        open_low: Exclude `low` itself.
        open_high: Exclude `high` itself.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = attrs.field(default=False, kw_only=True)
    open_high: bool = attrs.field(default=False, kw_only=True)

    def holds(self, value: float) -> bool:
        """Return whether `value` lies inside; not-a-number lies above and below nothing."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"
        if self.low is not None:
            return f"{'above' if self.open_low else 'at least'} {self.low:g}"
        return f"{'below' if self.open_high else 'at most'} {self.high:g}"


@attrs.frozen
class Setting:
    """One setting of a component.

    Attributes:
        name: Key in the recipe.
        annotation: Its type.
        default: Its default, or `inspect.Parameter.empty` where the recipe (or core) must give it.
    """

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        return describe(self.annotation)


def settings_of(target: Callable[..., Any]) -> dict[str, Setting]:
    """Return the settings of a component class, attrs class or function, by name, in the order of its signature."""
    # A class's hints live on its __init__ (a subclass that defines none inherits the parent's), unless attrs wrote that.
    annotated = target.__init__ if inspect.isclass(target) and not attrs.has(target) else target
    try:
        hints = typing.get_type_hints(annotated, include_extras=True)
    except NameError as error:
        title = f"{target.__module__}.{getattr(target, '__qualname__', target)}"
        raise GancoreError(f"{title} has an annotation that does not resolve: {error}") from error
    parameters = list(inspect.signature(target).parameters.values())
    optimizer = bool(parameters) and parameters[0].name == "params"
    kinds = {inspect.Parameter.KEYWORD_ONLY, *([inspect.Parameter.POSITIONAL_OR_KEYWORD] if optimizer else [])}
    return {p.name: Setting(p.name, hints.get(p.name, Any), p.default) for p in parameters[optimizer:] if p.kind in kinds}


def check(
    target: Callable[..., Any], settings: Mapping[str, Any], *, where: str, context: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a recipe's settings of a component, converted to the types that it declares.

    Args:
        target: The component.
        settings: As the recipe has them.
        where: Names the place for the error, e.g. ``"my.toml: losses.penalty (mine/penalty)"``.
        context: What core knows, to `complete` them with; None leaves out what only core can supply.

    Raises:
        GancoreError: An unknown key, a wrong type, a value out of range, or a required setting that is missing.
    """
    known = settings_of(target)
    for key in settings:
        if key not in known:
            raise GancoreError(
                f"{where} has no setting {shown(key)}{did_you_mean(key, known)} (its settings: {listed(known)})."
            )
    converted = {key: convert(value, known[key].annotation, where=f"{where}: {key}") for key, value in settings.items()}
    for key, value in converted.items():
        if not key.endswith("seed") and any(isinstance(one, int) and abs(one) > LARGEST for one in _numbers(value)):
            raise GancoreError(
                f"{where}: {key} is {shown(settings[key])}, and nothing is counted beyond {LARGEST:,}; lower it."
            )
    if context is not None:
        return complete(target, converted, where=where, context=context)
    _require(known, {*converted, *CONTEXT}, where)
    return converted


def complete(
    target: Callable[..., Any], settings: Mapping[str, Any], *, where: str, context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return checked settings of a component with what core knows and they do not say.

    Raises:
        GancoreError: A required setting is missing, or one has the name of something else that core knows.
    """
    known = settings_of(target)
    supplied = {name: context[name] for name in known if name in context and name not in settings}
    for name, value in supplied.items():
        if not _takes(known[name].annotation, value):
            raise GancoreError(
                f"{where} has a setting {name!r} ({known[name].allowed}), a name under which gancore supplies {value!r}; "
                "its author must rename it."
            )
    _require(known, {*settings, *supplied}, where)
    return {**settings, **supplied}


def _require(known: Mapping[str, Setting], there: Collection[str], where: str) -> None:
    for setting in known.values():
        if setting.required and setting.name not in there:
            raise GancoreError(f"{where} needs the setting {setting.name!r} ({setting.allowed}); add it to the recipe.")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "nothing", dict: "a table"}
_UNFIT = object()


def _shape(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what kind of type an annotation is, e.g. `list` or `typing.Union`, and the types inside it."""
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin is Annotated:
        return _shape(inner[0])
    if origin in (Any, inspect.Parameter.empty):
        return Any, ()
    if origin in (Union, types.UnionType):
        # A recipe can write no tensor.
        written = tuple(one for one in inner if not inspect.isclass(one) or one in (*_WORDS, list, tuple))
        return Union, written or inner
    if origin in (list, tuple, Sequence):
        return tuple if origin is tuple else list, inner or (Any, ...)
    return (dict, inner or (str, Any)) if origin in (dict, Mapping) else (origin, inner)


def _bounds(annotation: Any) -> list[Range]:
    return [one for one in typing.get_args(annotation) if isinstance(one, Range)]


def _takes(annotation: Any, supplied: Any) -> bool:
    """Return whether a setting of this type is what core supplies under its name, and no other thing of that name."""
    kind, inner = _shape(annotation)
    if kind is Union:
        return any(_takes(one, supplied) for one in inner)
    if kind in (list, tuple):
        return isinstance(supplied, Sequence) and not isinstance(supplied, str)
    return kind is Any or type(supplied) is kind


def convert(value: Any, annotation: Any, *, where: str) -> Any:
    """Return `value` as the annotated type asks, or raise `GancoreError` that says what is allowed."""
    kind, inner = _shape(annotation)
    converted = _converted(value, kind, inner, where)
    if converted is not _UNFIT and all(bound.holds(one) for bound in _bounds(annotation) for one in _numbers(converted)):
        return converted
    texts = [one for one in inner if isinstance(one, str)]
    hint = did_you_mean(value, texts) if isinstance(value, str) else ""
    raise GancoreError(f"{where} must be {describe(annotation)}, not {shown(value)}{hint}.")


def _converted(value: Any, kind: Any, inner: tuple[Any, ...], where: str) -> Any:
    """Return `value` as a kind of type with these types inside it, or `_UNFIT`."""
    if kind is Union:
        # The recipe's own type first, so that `int | float` keeps 1 an int.
        for choice in sorted(inner, key=lambda one: one is not type(value)):
            with contextlib.suppress(GancoreError):
                return convert(value, choice, where=where)
    elif kind is Literal:
        if value in inner and type(value) in map(type, inner):
            return value
    elif kind in (list, tuple):
        items = value if isinstance(value, list | tuple) else None
        each = inner if kind is tuple and inner[-1] is not Ellipsis else inner[:1] * len(items or ())
        if items is not None and len(items) == len(each):
            return kind(convert(v, one, where=f"{where}[{i}]") for i, (v, one) in enumerate(zip(items, each, strict=True)))
    elif kind is dict:
        if isinstance(value, Mapping):
            return {key: convert(item, inner[1], where=f"{where}.{key}") for key, item in value.items()}
    elif kind is float:
        # TOML and --set write 1 for 1.0; a bool is never a number.
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FINITE:
            return float(value)
    elif kind is Any:
        # What a component is given for another one, whose settings are checked where that is built.
        return value if all(abs(number) <= FINITE for number in _numbers(value)) else _UNFIT
    elif kind not in _WORDS or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    return _UNFIT


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def describe(annotation: Any) -> str:
    """Return an annotation in words for people: ``"a number above 0"``."""
    kind, inner = _shape(annotation)
    return " ".join([_words(kind, inner), *map(str, _bounds(annotation))])


def _words(kind: Any, inner: tuple[Any, ...]) -> str:
    if kind is Union:
        return " or ".join(map(describe, inner))
    if kind is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if kind is tuple and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)}: " + ", ".join(map(describe, inner))
    if kind in (list, tuple):
        return f"a list of: {describe(inner[0])}"
    if kind is Any:
        return "finite"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
