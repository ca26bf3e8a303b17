"""Components without a plugin: classes that Python gives, and those of files that are trusted.

A recipe names the first ``python:Mine`` and the second ``./mine.py:Mine``, relative to the working folder. Neither is run
unless whoever trains, samples or scores says so, each time: a recipe or a run folder from a stranger runs nothing.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import linecache
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import attrs

import gancore
from gancore import GancoreError
from gancore.tools import KINDS, Declared, Registry, as_path, digest, said, shown
from gancore_training.written import CLASS

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")

_MOST = 1_000_000
"""Bytes of a file."""


@attrs.frozen(kw_only=True)
class Local(Declared):
    """A component without a plugin; its ``plugin`` is its file, or ``python``, and its ``version`` the digest of its code.

    Attributes:
        source: Its text; empty where Python does not know it.
        given: The class, where Python gave it.
    """

    source: str = attrs.field(default="", repr=False)
    given: Any = attrs.field(default=None, eq=False)

    @property
    def full_name(self) -> str:
        """As a recipe names it."""
        return f"{self.plugin}:{self.name}"


class LocalCode(Registry):
    """The installed plugins, and components without a plugin.

    Args:
        installed: The plugins.
        classes: Classes and functions that Python gave, by their names.
        trusted: Whether the code of files may be run.
    """

    def __init__(self, installed: Registry, classes: Mapping[str, Any] | None = None, *, trusted: bool = False) -> None:
        super().__init__(installed.plugins())
        self.classes = dict(classes or {})
        self.trusted = trusted
        self.used: dict[str, Local] = {}

    def component(self, kind: str, name: str, where: str) -> Declared:
        """Return a component by its name; see `gancore.tools.Registry`.

        Raises:
            GancoreError: There is none, or it is the code of a file that is not trusted.
        """
        if ":" not in name:
            return super().component(kind, name, where)
        what = f"{where} uses the {kind} {shown(name)}"
        label, file = name.rpartition(":")[2], _FILE.fullmatch(name)
        if label in self.classes:
            local = _of_class(kind, name.rpartition(":")[0], self.classes[label])
        elif file is None:
            raise GancoreError(
                f"{what}, a class that was given from Python; give it again by components=[{label}], or put it into a file and "
                f"name that, e.g. ./mine.py:{label}."
            )
        elif not self.trusted:
            raise GancoreError(
                f"{what}, the code of a file, which is run where it is trusted alone; read it, and say so by --trust-local, in "
                "Python by trust_local=True."
            )
        else:
            local = _of_file(kind, **file.groupdict(), what=what)
        return self.used.setdefault(local.full_name, local)

    def load(self, declared: Declared) -> Any:
        """Return the class of a component; see `gancore.tools.Registry`.

        Raises:
            GancoreError: It can't be run, or is no component of its kind.
        """
        if not isinstance(declared, Local):
            return super().load(declared)
        loaded = declared.given if declared.given is not None else _in_file(declared)
        base = KINDS[declared.kind].base
        wanted = getattr(gancore, base) if base else None
        if not (callable(loaded) if wanted is None else isinstance(loaded, type) and issubclass(loaded, wanted)):
            fit = f"a subclass of gancore.{base}" if base else "a class or function"
            raise GancoreError(f"{declared.full_name} stands where a {declared.kind} does, and is not {fit}.")
        return loaded

    def plugin_versions(self, names: Collection[str]) -> dict[str, str]:
        """Return ``plugin -> distribution version`` of the named plugins, and the digests of what has none."""
        own: dict[str, list[str]] = {}
        for local in sorted(self.used.values(), key=lambda each: each.name):
            if local.plugin in names:
                own.setdefault(local.plugin, []).append(f"{local.name} {local.version}")
        return {**super().plugin_versions(names), **{place: f"code {', '.join(texts)}" for place, texts in own.items()}}


def local_sources(registry: Registry) -> dict[str, dict[str, str]]:
    """Return what a run's record keeps of the components without a plugin: where they came from, and their text."""
    used = registry.used if isinstance(registry, LocalCode) else {}
    return {name: {"from": local.target, "digest": local.version, "source": local.source} for name, local in used.items()}


def local_versions(registry: Registry, names: Collection[str]) -> dict[str, str]:
    """Return the digests of the components without a plugin among those of some plugins."""
    used = registry.used.values() if isinstance(registry, LocalCode) else ()
    return {local.full_name: local.version for local in used if local.plugin in names}


def _of_class(kind: str, prefix: str, given: Any) -> Local:
    """Return a class that Python gave; `prefix` is how the recipe calls where it comes from, perhaps a file."""
    source, code = _source(given)
    module = re.sub(r"[^\w.]", "_", str(getattr(given, "__module__", "")) or "unknown")
    return Local(
        kind=kind,
        name=given.__name__,
        target=f"{module}:{given.__name__}",
        summary="A class given from Python",
        plugin=prefix or CLASS,
        distribution="code",
        version=digest([code])[:12],
        source=source,
        given=given,
    )


def _source(given: Any) -> tuple[str, bytes]:
    """Return a class's text, where Python knows it, and what changes when the class does."""
    own = vars(given) if inspect.isclass(given) else {given.__name__: given}
    functions = [value for value in own.values() if inspect.isfunction(value)]
    text = next(filter(None, (_text_around(function.__code__, given.__name__) for function in functions)), "")
    if text:
        return text, text.encode()
    values = [f"{name} = {value!r}" for name, value in sorted(own.items()) if isinstance(value, int | float | str)]
    return "", "\n".join([*(_compiled(function.__code__) for function in functions), *values]).encode()


def _text_around(code: CodeType, name: str) -> str:
    """Return the text of what is called by a name and holds a function; of a notebook's cell too, which is no file."""
    text = "".join(linecache.getlines(code.co_filename))
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:  # it has changed since
        return ""
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= code.co_firstlineno <= (node.end_lineno or 0):
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno]) + "\n"
    return ""


def _compiled(code: CodeType) -> str:
    inner = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_name} {code.co_code.hex()} {inner} {code.co_names}"


def _of_file(kind: str, file: str, name: str, what: str) -> Local:
    path = as_path(file, f"{what}: the file")
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            raise GancoreError(f"{what}, and {file} is no file of Python's here; it is looked for from the working folder.")
        source = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GancoreError(f"{what}, and {file} can't be read: {said(error)}; mend that.") from error
    return Local(
        kind=kind,
        name=name,
        target=f"{path.stem if path.stem.isidentifier() else 'file'}:{name}",
        summary=f"A class of {file}",
        plugin=file,
        distribution="code",
        version=digest([source.encode()])[:12],
        source=source,
    )


def _in_file(local: Local) -> Any:
    """Return what a file calls by the component's name."""
    module = _run(as_path(local.plugin, "the file"), local.source)
    try:
        return getattr(module, local.name)
    except AttributeError:
        raise GancoreError(f"{local.plugin} holds no {local.name}; correct the name behind the colon.") from None


def _run(path: Path, source: str) -> ModuleType:
    """Run a file once for each content, as a module that Python's own tools can look into."""
    name = f"gancore_local_{digest([str(path.resolve()).encode(), source.encode()])[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise GancoreError(f"{path} can't be run: {said(error)[:250]}; mend the file.") from error
    return module
