"""Pages of the documentation's site that are made of what is installed, so that none of them can be out of date.

A hook of mkdocs: it adds pages to those of the folder ``docs``, fills the navigation, and has links that lead out of that
folder lead to the repository.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from gancore_training.listing import listing
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import gancore.cli.main
from gancore.registry import Declared, registry

DOCS = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/gancore/gancore"

FACES = {
    "gancore": "What a plugin is written with: base classes, declarations, settings, randomness. The whole contract.",
    "gancore.tools": "For plugins' commands: opening a recipe, building a plan, writing files.",
    "gancore.testing": "The conformance suite, for a plugin's own tests.",
    "gancore_training": "Training, checkpoints, run folders, samples and scores, for other distributions.",
}
"""Modules whose public names others may import, and what each is for."""

_ADDRESSES = {"arXiv": "https://arxiv.org/abs/", "OpenReview": "https://openreview.net/forum?id=", "eScholarship": ""}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the navigation what folders hold and what is generated."""
    methods = ["methods/index.md", *(f"methods/{path.name}" for path in sorted((DOCS / "methods").glob("*.md")))]
    plugins = sorted({component.plugin for component in named()})
    filled = {
        "Methods": methods,
        "Components": ["components/index.md", *({name: f"components/{name}.md"} for name in plugins)],
        "Python reference": [{name: f"python/{name}.md"} for name in FACES],
    }
    nav: list[dict[str, Any]] = config.nav or []
    config.nav = [{title: filled.get(title, where)} for entry in nav for title, where in entry.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in pages():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Have links that lead out of the documentation lead to the repository."""

    def outside(link: re.Match[str]) -> str:
        target = (DOCS / page.file.src_uri).parent / link[1]
        path = Path(*target.parts).resolve()
        if path.is_relative_to(DOCS) or not path.exists():
            return link[0]
        kind = "tree" if path.is_dir() else "blob"
        return f"]({REPOSITORY}/{kind}/main/{path.relative_to(DOCS.parent)}{link[2] or ''})"

    markdown = markdown.replace("](notebook.ipynb)", "](notebook.md)")
    return re.sub(r"\]\((\.\./[^)#]*)(#[^)]*)?\)", outside, markdown)


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each generated page."""
    yield "recipes.md", recipes()
    yield "command-line.md", command_line()
    yield "methods/index.md", methods()
    yield "notebook.md", notebook()
    yield "components/index.md", components()
    for plugin in sorted({component.plugin for component in named()}):
        yield f"components/{plugin}.md", components_of(plugin)
    for face, about in FACES.items():
        yield f"python/{face}.md", python(face, about)


def named() -> list[Declared]:
    """Return the components that a recipe can name, and so all but the commands."""
    return [one for one in registry().components() if one.kind != "command"]


def recipes() -> str:
    """Return the page of all recipes."""
    number = len(list(listing(registry())))
    lines = [
        "# Recipes",
        "",
        f"All {number} of the project's plugins. `gancore recipes WORD` searches them, `gancore show NAME`",
    ]
    lines += ["prints one, and `gancore explain NAME` what it computes. A *fragment* is laid over another recipe by `--with`;"]
    lines += ["a *helper* is trained first for others; the numbers are iterations x batch size.", ""]
    plugin = ""
    for one in listing(registry()):
        if one.name.partition("/")[0] != plugin:
            plugin = one.name.partition("/")[0]
            lines += ["", f"## {plugin}", "", "| recipe | | |", "|---|---|---|"]
        lines.append(f"| `{one.name}` | {_cell(one.summary)} | {_cell(one.marks)} |")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """Return the page of all commands, each as its own help says it."""
    group = gancore.cli.main.main
    lines = ["# Command line", "", "What `gancore COMMAND --help` prints, for every command of the project's plugins.", ""]
    with click.Context(group, info_name="gancore") as top:
        for name in group.list_commands(top):
            command = group.get_command(top, name)
            assert command is not None
            lines += _help(command, top, name)
    return "\n".join(lines) + "\n"


def _help(command: click.Command, above: click.Context, name: str) -> list[str]:
    with click.Context(command, info_name=name, parent=above, max_content_width=100, terminal_width=100) as context:
        lines = [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                own = command.get_command(context, inner)
                assert own is not None
                lines += _help(own, context, inner)
        return lines


def methods() -> str:
    """Return the list of the methods' pages, each by its heading."""
    lines = ["# Methods", "", "Equations and code side by side, where a paper and its public code disagree, and results.", ""]
    heads = {path.name: path.read_text().partition("\n")[0] for path in sorted((DOCS / "methods").glob("*.md"))}
    return "\n".join([*lines, *(f"- [{head.removeprefix('# ')}]({name})" for name, head in heads.items())]) + "\n"


def notebook() -> str:
    """Return the notebook as a page: its texts, its code and what is stored of its output."""
    first, *cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    address = f"{REPOSITORY}/blob/main/docs/notebook.ipynb"
    blocks = ["".join(first["source"]), f"This page is the notebook [docs/notebook.ipynb]({address})."]
    for cell in cells:
        text = "".join(cell["source"])
        blocks.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        blocks += [_output(output) for output in cell.get("outputs", [])]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _output(output: dict[str, Any]) -> str:
    """Return a cell's output: its HTML, which is the project's own and holds its pictures, or else its text."""
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="md-typeset">{" ".join("".join(data["text/html"]).split())}</div>'
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{text}\n```" if text else ""


def components() -> str:
    """Return the table of all components by their kinds."""
    declared = sorted(named(), key=lambda one: (one.kind, one.plugin, one.name))
    lines = ["# Components", "", "What a recipe can name, by kind. `gancore show NAME` prints the same in a terminal.", ""]
    kind = ""
    for one in declared:
        if one.kind != kind:
            kind = one.kind
            lines += ["", f"## {kind}", "", "| name | |", "|---|---|"]
        lines.append(f"| [`{one.full_name}`]({one.plugin}.md#{_anchor(one)}) | {_cell(one.summary)} |")
    return "\n".join(lines) + "\n"


def components_of(plugin: str) -> str:
    """Return the page of a plugin's components: what each is, its settings, and its source."""
    declared = sorted((one for one in named() if one.plugin == plugin), key=lambda one: (one.kind, one.name))
    lines = [f"# {plugin}", "", f"`pip install {declared[0].distribution}`", ""]
    for one in declared:
        lines += [f"## {one.full_name} {{ #{_anchor(one)} }}", ""]
        lines += [f"{one.kind.capitalize()}: {_text(one.summary)}.{_cited(one.cite)}", ""]
        options = ["show_root_heading: false", "show_root_toc_entry: false", "show_bases: false", "members: false"]
        lines += [f"::: {_home(one.target)}", "    options:", *(f"      {option}" for option in options), ""]
    return "\n".join(lines) + "\n"


def python(face: str, about: str) -> str:
    """Return the reference of a module's public names."""
    module = importlib.import_module(face)
    lines = [f"# {face}", "", about, ""]
    # What other distributions add to a face is among its names too.
    for name in sorted((name for name in dir(module) if name[0] != "_"), key=lambda name: (not name[0].isupper(), name)):
        value = getattr(module, name)
        if inspect.ismodule(value):
            functions = [key for key in dir(value) if not key.startswith("_") and _is_of(value, key)]
            lines += [f"::: {value.__name__}", "    options:", f"      members: [{', '.join(functions)}]", ""]
        elif (inspect.isclass(value) or inspect.isfunction(value)) and "<" not in value.__qualname__:
            lines += [f"::: {value.__module__}.{value.__qualname__}", ""]
        else:
            lines += [f"### `{name}`", "", f"`{_cell(repr(value))[:120]}`" if not callable(value) else "", ""]
    return "\n".join(lines) + "\n"


def _is_of(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return getattr(value, "__module__", None) == module.__name__ and callable(value)


def _home(target: str) -> str:
    """Return where the object of a component is defined."""
    module, _, name = target.partition(":")
    value = getattr(importlib.import_module(module), name)
    home, qualified = getattr(value, "__module__", module), getattr(value, "__qualname__", name)
    return (
        f"{home}.{qualified}" if home.partition(".")[0].startswith("gancore") and "<" not in qualified else f"{module}.{name}"
    )


def _anchor(one: Declared) -> str:
    return f"{one.kind}-{one.name}"


def _cited(cite: str) -> str:
    kind, _, name = cite.partition(":")
    if not name:
        return ""
    address = _ADDRESSES.get(kind, "")
    return f" [{cite}]({address}{name})" if address else f" {cite}"


def _text(text: str) -> str:
    return re.sub(r"([<>\[\]*_`])", r"\\\1", text).rstrip(".")


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")
