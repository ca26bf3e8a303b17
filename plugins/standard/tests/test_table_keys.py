"""The tables of a recipe and their keys: as ``gancore show`` prints them, and as a whole recipe of the documentation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from gancore_standard.table_keys import keys_of
from gancore_standard.whole_recipe import page

from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.recipe.tables import TABLES, TermKeys
from gancore.registry import registry
from tests.cli.test_cli import run

ROOT = Path(__file__).resolve().parents[3]


def whole() -> str:
    return page().split("```toml\n")[1].split("```")[0]


@pytest.mark.parametrize("table", TABLES)
def test_show_gives_every_key_with_its_default_and_meaning(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("show", table)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"[{table}")
    keys = keys_of(table)
    assert len(keys) == len({key.name for key in keys})
    assert all(len(key.meaning) > 10 for key in keys)
    text = " ".join(done.output.split())
    for key in keys:
        assert f" {key.name}: {key.allowed} (default {key.default}) {key.meaning}" in text


def test_keys_are_those_of_the_code() -> None:
    losses = {key.name: key for key in keys_of("losses")}
    assert set(losses) == {"use", "schedule", *TermKeys.__annotations__}
    assert (losses["weight"].default, losses["stop"].default, losses["reads"].default) == ("1.0", "none", "{}")
    assert losses["weight"].meaning == "What its value is multiplied by; 0 is the same as absent."
    networks = {key.name for key in keys_of("networks")}
    assert {"weights", "trained_by", "on"} <= networks
    assert [key.default for key in keys_of("loop")] == ["standard/alternating"]


def test_without_a_name_the_tables_are_shown() -> None:
    lines = run("show").output.splitlines()
    assert [re.split(r"[\[\]]", line)[1] for line in lines if line.startswith("[")] == list(TABLES)


def test_the_page_of_the_documentation_is_what_the_code_says() -> None:
    path = ROOT / "docs" / "whole-recipe.md"
    assert path.read_text() == page(), "write it anew: python -m gancore_standard.whole_recipe > docs/whole-recipe.md"


def test_the_whole_recipe_has_every_key_and_plans(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(whole())
    plan = make_plan(read(str(path), registry()), registry())
    assert plan.info.classes == 10
    assert set(tomllib.loads(whole())) == {*TABLES, "summary", "cite"} - {"attacks"}
    blocks = re.split(r"^(?:# )?\[(\w+)[\].]", whole(), flags=re.MULTILINE)[1:]
    texts: dict[str, str] = {}
    for table, text in zip(blocks[::2], blocks[1::2], strict=True):
        texts[table] = texts.get(table, "") + text
    assert set(texts) == set(TABLES)
    for table in TABLES:
        for key in keys_of(table):
            assert re.search(rf"^(# )?{key.name} = ", texts[table], re.MULTILINE), (table, key.name)
