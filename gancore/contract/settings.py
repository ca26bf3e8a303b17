"""A component's settings: read off its constructor, checked before anything is built.

The keyword-only parameters of a component's constructor, with annotations and defaults, are its settings; of an optimizer,
whose first one is called ``params``, all others. Annotations that are understood: ``bool``, ``int``, ``float``, ``str``,
``Literal[...]``, ``X | None``, ``list[X]``, ``tuple[X, ...]``, ``dict[str, X]``, and any of them as
``Annotated[X, Range(...)]``.
"""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

import attrs

from gancore.errors import GancoreError, did_you_mean, listed

CONTEXT = (
    "classes",
    "channels",
    "image_size",
    "latent_dim",
    "features",
    "spectral_norm",
    "batch_size",
    "iterations",
    "class_counts",
)
"""Constructor arguments that core supplies where the recipe does not set them."""

_WRITTEN = (bool, int, float, str, list, tuple, dict, type(None))


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
        """Return whether `value` lies inside; not-a-number never does."""
        if math.isnan(value):
            return False
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return not (self.high is not None and (value > self.high or (self.open_high and value == self.high)))

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
    if inspect.isclass(target) and attrs.has(target):
        attrs.resolve_types(target, include_extras=True)
        return {
            field.name: Setting(
                field.name, field.type, inspect.Parameter.empty if field.default is attrs.NOTHING else field.default
            )
            for field in attrs.fields(target)
        }
    # A class's hints live on its __init__; a subclass that defines none inherits the parent's.
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise GancoreError(f"{_title(target)} has an annotation that does not resolve: {error}") from error
    parameters = list(inspect.signature(target).parameters.values())
    optimizer = bool(parameters) and parameters[0].name == "params"
    kinds = {inspect.Parameter.KEYWORD_ONLY, *([inspect.Parameter.POSITIONAL_OR_KEYWORD] if optimizer else [])}
    return {
        parameter.name: Setting(parameter.name, hints.get(parameter.name, Any), parameter.default)
        for parameter in parameters[optimizer:]
        if parameter.kind in kinds
    }


def check(
    target: Callable[..., Any],
    settings: Mapping[str, Any],
    *,
    where: str,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a recipe's settings of a component, converted to the types that it declares.

    Args:
        target: The component.
        settings: As the recipe has them.
        where: Names the place for the error, e.g. ``"my.toml: losses.balance (cbgan/class-balance)"``.
        context: What core knows, to `complete` them with; None leaves out what only core can supply.

    Raises:
        GancoreError: An unknown key, a wrong type, a value out of range, or a required setting that is missing.
    """
    known = settings_of(target)
    for key in settings:
        if key not in known:
            raise GancoreError(f"{where} has no setting {key!r}{did_you_mean(key, known)} (its settings: {listed(known)}).")
    converted = {key: convert(value, known[key].annotation, where=f"{where}: {key}") for key, value in settings.items()}
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


def _takes(annotation: Any, supplied: Any) -> bool:
    """Return whether a setting of this type is what core supplies under its name, and no other thing of that name."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _takes(inner[0], supplied)
    if origin in (typing.Union, types.UnionType):
        return any(_takes(one, supplied) for one in inner)
    if origin is not None:
        return isinstance(supplied, Sequence) and not isinstance(supplied, str)
    return annotation in (Any, inspect.Parameter.empty) or type(supplied) is annotation


def convert(value: Any, annotation: Any, *, where: str) -> Any:
    """Return `value` as the annotated type asks, or raise `GancoreError` that says what is allowed."""
    if annotation in (Any, inspect.Parameter.empty):
        return value
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return _convert_union(value, annotation, where)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        try:
            result = convert(value, arguments[0], where=where)
        except GancoreError:
            # A number is refused with its bounds; a list's own sentence already names the item.
            if arguments[0] in (int, float):
                raise _refused(value, annotation, where) from None
            raise
        for bound in arguments[1:]:
            if isinstance(bound, Range) and not all(bound.holds(v) for v in _numbers(result)):
                raise _refused(value, annotation, where)
        return result
    if origin is Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return value
        hint = did_you_mean(value, [a for a in arguments if isinstance(a, str)]) if isinstance(value, str) else ""
        raise _refused(value, annotation, where, hint)
    if origin in (list, tuple, Sequence) or annotation in (list, tuple):
        return _convert_sequence(value, annotation, where)
    if origin in (dict, Mapping) or annotation is dict:
        if not isinstance(value, Mapping):
            raise _refused(value, annotation, where)
        inner = arguments[1] if arguments else Any
        return {key: convert(item, inner, where=f"{where}.{key}") for key, item in value.items()}
    return _convert_plain(value, annotation, where)


def _convert_union(value: Any, annotation: Any, where: str) -> Any:
    choices = _choices(annotation)
    if value is None and type(None) in choices:
        return None
    # The recipe's own type first, so that `int | float` keeps 1 an int.
    plain = [choice for choice in choices if choice is not type(None)]
    for choice in sorted(plain, key=lambda c: c is not type(value)):
        try:
            return convert(value, choice, where=where)
        except GancoreError:
            continue
    raise _refused(value, annotation, where)


def _choices(annotation: Any) -> list[Any]:
    """Return the types of a union that a recipe can write; it can write no tensor."""
    choices = typing.get_args(annotation)
    return [choice for choice in choices if not inspect.isclass(choice) or choice in _WRITTEN] or list(choices)


def _convert_sequence(value: Any, annotation: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _refused(value, annotation, where)
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _refused(value, annotation, where)
        return tuple(convert(v, a, where=f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True)))
    inner = arguments[0] if arguments else Any
    items = [convert(item, inner, where=f"{where}[{i}]") for i, item in enumerate(value)]
    return tuple(items) if origin is tuple else items


def _convert_plain(value: Any, annotation: Any, where: str) -> Any:
    # TOML and --set write 1 for 1.0; a bool is never a number.
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif annotation is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif annotation is bool and isinstance(value, bool):
        return value
    elif annotation is str and isinstance(value, str):
        return value
    elif annotation not in (bool, int, float, str):
        return value
    raise _refused(value, annotation, where)


def describe(annotation: Any) -> str:
    """Return an annotation in words for people: ``"a number above 0"``."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "nothing"}
    if annotation in words:
        return words[annotation]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if isinstance(annotation, types.UnionType) or origin is typing.Union:
        return " or ".join(describe(a) for a in _choices(annotation))
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *(str(a) for a in arguments[1:] if isinstance(a, Range))])
    if origin is Literal:
        return "one of " + ", ".join(repr(a) for a in arguments)
    if origin in (list, tuple, Sequence) and arguments:
        if origin is tuple and arguments[-1] is not Ellipsis:
            return f"a list of {len(arguments)}: " + ", ".join(describe(a) for a in arguments)
        return f"a list of: {describe(arguments[0])}"
    if origin in (dict, Mapping):
        return "a table"
    return getattr(annotation, "__name__", str(annotation))


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [value]
    return [number for item in value for number in _numbers(item)] if isinstance(value, list | tuple) else []


def _refused(value: Any, annotation: Any, where: str, hint: str = "") -> GancoreError:
    return GancoreError(f"{where} must be {describe(annotation)}, not {value!r}{hint}.")


def _title(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{getattr(target, '__qualname__', target)}"
