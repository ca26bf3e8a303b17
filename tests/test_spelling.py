"""Names and texts are spelled as torch spells them, the American way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".github", "benchmarks", "docs", "examples", "gancore", "plugins", "tests")
ENDINGS = {".cff", ".ipynb", ".jinja", ".js", ".md", ".py", ".pyi", ".toml", ".txt", ".yml"}

BRITISH = re.compile(
    r"""(?ix)
    (?:cancell|channell|labell|modell|signall|travell)(?:ed|er|ing)
    | (?:behavi|col|fav|hon|neighb)our | (?:de|of)fence | (?<![a-z])(?:analys|catalys)(?:ed?|ing)(?![a-z])
    | (?<![a-z])(?:artefact | catalogue | centre | fibre | grey | judgement | learnt | licence | whilst)
    | (?:categor|emphas|equal|factor|final|general|initial|linear|local|maxim|minim|normal|optim|organ|parametr|penal|quant
      | random|real|recogn|regular|serial|special|stabil|standard|summar|symmetr|synchron|util|vector|visual)
      is(?:e[drs]?|ers|ing|ations?|able)(?![a-z])
    """
)
KEPT = re.compile(
    r"""(?x) (?<=["`.])labelled(?=["`.=\]]) | (?<!\w)labelled(?=_(?:adversarial|classes|classifier|label)(?!\w))"""
)
"""The source of images with labels: what a source is called seeds its draws, so that another name would give other results."""

QUOTED = {
    "gancore/contract/networks.py": ["initialise", "initialise"],
    "gancore/engine/parts.py": ["initialise"],
    "plugins/dsgan/tests/test_training.py": ["labelled"],
    "plugins/standard/src/gancore_standard/robustness.py": ["defence"],
    "tests/engine/test_abilities.py": ["initialise", "initialise"],
}
"""File -> spellings that seed what is drawn, as a source's name does, or that are refused there."""


def british(text: str) -> list[str]:
    """The words of a text that torch would spell otherwise, but for what has to keep its name."""
    return BRITISH.findall(KEPT.sub("", text))


def files() -> list[Path]:
    below = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    texts = [path for path in (*ROOT.glob("*"), *below) if path.suffix in ENDINGS and "build" not in path.parts]
    return [path for path in texts if path != Path(__file__)]


def test_names_and_texts_are_spelled_as_torch_spells_them() -> None:
    words = {path.relative_to(ROOT).as_posix(): british(path.read_text(encoding="utf-8")) for path in files()}
    assert {name: own for name, own in words.items() if own} == QUOTED


def test_files_are_named_as_torch_would_name_them() -> None:
    assert [path for path in files() if british(path.relative_to(ROOT).as_posix())] == []


@pytest.mark.parametrize(
    "text", ["Labelled images", "self.labelled", "a labelled_view", "class Defence", "BEHAVIOUR", "initialise_()", "grey"]
)
def test_the_search_sees_other_spellings(text: str) -> None:
    assert british(text)


@pytest.mark.parametrize(
    "text", ["otherwise", "analyses", "real_is_known", "precise", "raised", 'of = "labelled"', "labelled_classes"]
)
def test_the_search_sees_nothing_else(text: str) -> None:
    assert british(text) == []
