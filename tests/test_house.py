"""The house stands as it was drawn: imports run downwards and through faces, core knows no plugin, and everything is small.

Imports are read from the source by `ast`, those of functions and those for types alone included.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest

from tests.conftest import PLUGINS

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "gancore").rglob("*.py"))
STUBS = sorted((ROOT / "gancore").rglob("*.pyi"))
"""Where a face imports a name when it is first asked for, the stub beside it says from where."""
PLUGIN_SOURCES = sorted(path for ending in ("py", "pyi") for path in ROOT.glob(f"*/*/src/**/*.{ending}"))

FLOORS = (
    ("errors", "lazy", "showing", "version"),
    ("contract", "parallel", "files"),
    ("registry",),
    ("recipe",),
    ("plan",),
    ("engine",),
    ("cli", "tools", "testing"),
    ("gancore", "__main__"),
)
"""Packages and modules of core from the ground up; what stands on a floor imports from its own or from lower ones."""

FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

LINES = 6489
"""What all of core has: the house allows 7,500 lines, and its goal is 6,500, so this number may only fall."""

LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 60

PUBLIC = ("gancore", "gancore.tools", "gancore.testing")
"""What a plugin may import of core."""

FACES = ("gancore_export", "gancore_training")
"""The plugins whose face others may import, which names what that is."""


@attrs.frozen
class Import:
    """An import of something of gancore.

    Attributes:
        importer: Name of the module that imports.
        module: Name of the module or package that is imported.
        name: What is imported from it, or None for the module itself.
        line: Number of the line.
    """

    importer: str
    module: str
    name: str | None
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}{'' if self.name is None else f'.{self.name}'}"


def module_name(path: Path) -> str:
    """The dotted name of a module of core or of a plugin."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[parts.index("src") + 1 :] if "src" in parts else parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def package(module: str) -> str:
    """The package or module right below `gancore` that a module of core belongs to; `gancore` for the top itself."""
    return module.split(".")[1] if "." in module else module


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def is_ours(module: str) -> bool:
    return re.match(r"gancore(_\w+)?(\.|$)", module) is not None


def imports(path: Path) -> Iterator[Import]:
    """Yield what a file imports of gancore and of its plugins, wherever in the file it does so."""
    importer = module_name(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_ours(alias.name):
                    yield Import(importer, alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}:{node.lineno} imports relatively"
            module = node.module or ""
            if is_ours(module):
                for alias in node.names:
                    whole = f"{module}.{alias.name}"
                    yield Import(importer, *((whole, None) if whole in MODULES else (module, alias.name)), node.lineno)


BY_CORE = [each for path in (*SOURCES, *STUBS) for each in imports(path)]
IN_CORE = [each for each in BY_CORE if each.module.split(".")[0] == "gancore"]
BY_PLUGINS = [each for path in PLUGIN_SOURCES for each in imports(path)]


@functools.cache
def names(face: str) -> tuple[str, ...]:
    """The names of a package's face, or of a module's."""
    return tuple(getattr(importlib.import_module(face), "__all__", ()))


def circles(edges: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """The groups of nodes that reach each other."""
    reaches: dict[str, set[str]] = {node: set(others) - {node} for node, others in edges.items()}
    changed = True
    while changed:
        changed = False
        for node, others in reaches.items():
            wider = others.union(*(reaches.get(other, set()) for other in others))
            if wider != others:
                reaches[node], changed = wider, True
    both = {node: {other for other in others if node in reaches.get(other, ())} for node, others in reaches.items()}
    return sorted({tuple(sorted(others)) for others in both.values() if others})


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of lines of each function's body, its docstring left out, with its place."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                yield (body[-1].end_lineno or 0) - body[0].lineno + 1, f"{module_name(path)}.{node.name}"


# -- imports -----------------------------------------------------------------------------------------------------------


def test_every_package_has_its_floor() -> None:
    assert {package(module) for module in MODULES} == set(FLOOR)


def test_imports_run_downwards() -> None:
    assert [str(each) for each in IN_CORE if FLOOR[package(each.module)] > FLOOR[package(each.importer)]] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {module: {each.module for each in IN_CORE if each.importer == module} for module in MODULES}
    assert circles(edges) == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {name: set() for name in FLOOR}
    for each in IN_CORE:
        edges[package(each.importer)].add(package(each.module))
    assert circles(edges) == []


def test_the_search_for_circles_sees_them() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(edges) == [("a", "b", "c"), ("d", "e")]


def test_other_packages_are_imported_through_their_faces() -> None:
    others = [each for each in IN_CORE if package(each.importer) != package(each.module)]
    inside = [str(each) for each in others if each.module.count(".") > 1 and not _is_named(each.module)]
    unnamed = [str(each) for each in others if each.module in PACKAGES and not _is_public(each)]
    assert inside + unnamed == []


def _is_named(module: str) -> bool:
    """Whether a module is itself one of the names of its package's face, as `gancore.files.toml` is."""
    face, _, name = module.rpartition(".")
    return name in names(face)


def test_a_module_imports_its_own_package_directly() -> None:
    own = [each for each in IN_CORE if package(each.importer) == package(each.module) and package(each.module) != "gancore"]
    assert [str(each) for each in own if each.module in PACKAGES and each.importer not in PACKAGES] == []


@pytest.mark.parametrize("face", [*PACKAGES, *FACES])
def test_a_face_names_what_is_there(face: str) -> None:
    module = pytest.importorskip(face, reason="a plugin, which core's tests do not need")
    assert names(face)
    assert [name for name in names(face) if not hasattr(module, name)] == []
    assert sorted(set(names(face))) == sorted(names(face))


def test_plugins_import_public_names_alone() -> None:
    of_core = [each for each in BY_PLUGINS if each.module.split(".")[0] == "gancore"]
    assert [str(each) for each in of_core if each.module not in PUBLIC or not _is_public(each)] == []


@pytest.mark.skipif(not all(map(find_spec, FACES)), reason="plugins, which core's tests do not need")
def test_plugins_import_the_faces_of_others_alone() -> None:
    others = [each for each in BY_PLUGINS if not _is_own(each) and each.module.split(".")[0] in FACES]
    assert others
    assert [str(each) for each in others if each.module not in FACES or not _is_public(each)] == []


def _is_own(imported: Import) -> bool:
    """Whether a module imports of its own distribution."""
    return imported.importer.split(".")[0] == imported.module.split(".")[0]


def _is_public(imported: Import) -> bool:
    return imported.name is None or imported.name in names(imported.module)


@pytest.mark.parametrize("path", PLUGIN_SOURCES, ids=module_name)
def test_plugins_read_public_names_alone(path: Path) -> None:
    read = {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gancore"
    }
    assert read - {*names("gancore"), "tools", "testing"} == set()


def test_core_imports_no_plugin() -> None:
    # The face of the suite that authors import is core's, and the suite a distribution that is no plugin.
    # What this project's plugins add to the face is typed in its stub, which nothing runs and of which `face` reads the rest.
    allowed = {("gancore.testing", "gancore_testing"), ("gancore", "gancore_training.python")}
    assert {(each.importer, each.module) for each in BY_CORE if each not in IN_CORE} <= allowed
    assert not any(name in names("gancore") for name in ("train", "load"))


# -- names -------------------------------------------------------------------------------------------------------------


def test_core_names_no_paper_and_no_plugin() -> None:
    # Standard's alone are named, where a recipe leaves out which loop, and so on.
    papers = r"cbgan|dsgan|fast-?robgan|robgan|uap"
    plugins = "|".join(PLUGINS)
    named = re.compile(rf"\b(?:{papers})\b|gancore[_-](?:plugin[_-])?(?:{plugins})\b", re.IGNORECASE)
    said = [
        f"{path.relative_to(ROOT)}:{number} says {match[0]!r}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in named.finditer(line)
    ]
    assert said == []


def test_no_module_is_called_like_one_of_the_standard_library_or_says_less_than_it_does() -> None:
    taken = {*sys.stdlib_module_names, "tape", "graph", "vision", "memory", "folder"}
    assert [module for module in MODULES if module.rpartition(".")[2] in taken - {"__main__"}] == []


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_core_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in SOURCES) <= LINES


def test_files_are_short() -> None:
    sizes = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: size for module, size in sizes.items() if size > LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    assert [each for path in SOURCES for each in functions(path) if each[0] > LINES_OF_A_FUNCTION] == []
