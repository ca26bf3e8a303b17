"""Recipes layer by deep merge, and resolve to what is itself a recipe."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from gancore import GancoreError
from gancore.files import toml
from gancore.recipe.layers import merge
from gancore.recipe.recipe import Recipe, check_table, read
from gancore.recipe.tables import GROUPS, TABLES, TermKeys
from tests.hosts import registry

BASE = """
summary = "Base"
[run]
seed = 3
[data]
use = "digits"
[networks.generator]
use = "probe/tiny-generator"
[networks.discriminator]
use = "probe/tiny-discriminator"
dropout = 0.5
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
weight = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    return tmp_path


def layered(folder: Path, *texts: str, sets: tuple[str, ...] = ()) -> Recipe:
    names = []
    for number, text in enumerate(texts):
        path = folder / f"over{number}.toml"
        path.write_text(text)
        names.append(str(path))
    return read(str(folder / "base.toml"), registry(), overlays=names, assignments=sets)


def test_a_later_layer_wins_key_by_key(folder: Path) -> None:
    recipe = layered(folder, "[run]\nbatch_size = 7\n[losses.adversarial]\nstart = 5\n", sets=("run.batch_size=9",))
    assert recipe.run.seed == 3
    assert recipe.run.batch_size == 9
    assert recipe.table["losses"]["adversarial"] == {"use": "standard/hinge", "weight": 2, "start": 5}


def test_a_table_that_names_another_use_replaces_the_part(folder: Path) -> None:
    recipe = layered(folder, '[losses.adversarial]\nuse = "relativistic"\n')
    assert recipe.table["losses"]["adversarial"] == {"use": "standard/relativistic"}


def test_false_switches_a_part_off_and_a_later_table_on_again(folder: Path) -> None:
    assert ("losses", "adversarial") not in layered(folder, sets=("losses.adversarial=false",)).entries
    again = layered(folder, sets=("losses.adversarial=false", "losses.adversarial.use=standard/hinge"))
    assert again.table["losses"]["adversarial"] == {"use": "standard/hinge"}


def test_a_table_is_a_recipe_as_a_file_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tomllib.loads(BASE)
    over = {"run": {"seed": 9}, "losses": {"adversarial": {"start": 5}}}
    recipe = read(table, registry(), overlays=[over])
    assert recipe.run.seed == 9
    assert recipe.table["losses"]["adversarial"] == {"use": "standard/hinge", "weight": 2, "start": 5}
    assert (recipe.name, recipe.layers) == ("the table + the table", ("the table", "the table"))
    assert table == tomllib.loads(BASE)
    monkeypatch.chdir(folder)
    child = read({"extends": "./base.toml", **over}, registry())
    assert {**child.table, "cite": None} == {**recipe.table, "cite": None}
    with pytest.raises(GancoreError, match="the table: losses must hold tables"):
        read({**table, "losses": 3}, registry())


def test_extends_lays_a_recipe_over_its_base(folder: Path) -> None:
    (folder / "child.toml").write_text('extends = "base.toml"\n[run]\nseed = 4\n')
    (folder / "grandchild.toml").write_text('extends = "child.toml"\n[run]\niterations = 9\n')
    recipe = read(str(folder / "grandchild.toml"), registry())
    assert (recipe.run.seed, recipe.run.iterations) == (4, 9)
    assert [Path(name).stem for name in recipe.layers] == ["base", "child", "grandchild"]


def test_overlays_that_agree_may_come_in_any_order(folder: Path) -> None:
    one, two = "[run]\nseed = 5\n", "[run]\nseed = 5\nbatch_size = 2\n"
    assert layered(folder, one, two).table == layered(folder, two, one).table


def test_a_loop_may_be_set_once_and_its_settings_by_anybody(folder: Path) -> None:
    recipe = layered(folder, '[loop]\nuse = "probe/replay"\n', "[loop]\nreplays = 3\n")
    assert recipe.table["loop"] == {"use": "probe/replay", "replays": 3}
    with pytest.raises(GancoreError, match=r"over0.toml and .*over1.toml can't be combined: they set loop.use"):
        layered(folder, '[loop]\nuse = "probe/replay"\n', '[loop]\nuse = "probe/three"\n')


REPLAYS = '[loop]\nuse = "probe/replay"\nreplays = 3\n'
LOOKS = '[loop]\nuse = "probe/lookahead"\nk = 5\n'


@pytest.mark.parametrize("order", [(REPLAYS, LOOKS), (LOOKS, REPLAYS)])
@pytest.mark.parametrize("name", ["probe/replay", "replay"])
def test_the_command_line_decides_which_of_two_loops_with_what_its_recipe_says_of_it(
    order: tuple[str, str], name: str, folder: Path
) -> None:
    recipe = layered(folder, *order, "[loop]\nreplays = 3\n", sets=(f"loop.use={name}",))
    assert recipe.table["loop"] == {"use": "probe/replay", "replays": 3}


def test_a_loop_of_neither_recipe_takes_nothing_of_them(folder: Path) -> None:
    recipe = layered(folder, REPLAYS, LOOKS, sets=("loop.use=standard/alternating",))
    assert recipe.table["loop"] == {"use": "standard/alternating"}


@pytest.mark.parametrize("last", [False, True])
def test_the_refusal_prints_what_decides(last: bool, folder: Path) -> None:
    overlays = (LOOKS, REPLAYS) if last else (REPLAYS, LOOKS)
    with pytest.raises(GancoreError) as refused:
        layered(folder, *overlays)
    said = shlex.split(str(refused.value).rpartition("e.g. by ")[2].removesuffix("."))
    assert said == ["--set", "loop.use=probe/lookahead" if last else "loop.use=probe/replay"]
    assert layered(folder, *overlays, sets=(said[1],)).table["loop"]["use"] == said[1].removeprefix("loop.use=")


@pytest.mark.parametrize(
    ("key", "one", "two"),
    [
        ("run.seed", "1", "2"),
        ("optimizers.generator.betas", "[0.5, 0.9]", "[0.0, 0.9]"),
        ("data.flip", "true", "false"),
        ("networks.generator.use", '"probe/tiny-generator"', '"host/generator"'),
        ("losses.adversarial.weight", "2.0", "1e-3"),
    ],
)
def test_the_command_line_decides_any_conflict(key: str, one: str, two: str, folder: Path) -> None:
    table, _, name = key.rpartition(".")
    overlays = [f"[{table}]\n{name} = {value}\n" for value in (one, two)]
    with pytest.raises(GancoreError, match=f"they set {key} to") as refused:
        layered(folder, *overlays)
    _, assignment = shlex.split(str(refused.value).rpartition("e.g. by ")[2].removesuffix("."))
    by_first, by_second = layered(folder, *overlays, sets=(assignment,)), layered(folder, *overlays, sets=(f"{key}={two}",))
    assert by_first.table == layered(folder, overlays[0]).table
    assert by_second.table == layered(folder, overlays[1]).table


def test_a_whole_table_decides_what_it_switches_off(folder: Path) -> None:
    recipe = layered(folder, "[ema]\ndecay = 0.9\n", "[ema]\ndecay = 0.99\n", sets=("ema=false",))
    assert recipe.ema is None


def test_an_assignment_decides_nothing_else(folder: Path) -> None:
    with pytest.raises(GancoreError, match=r"they set run\.seed"):
        layered(folder, "[run]\nseed = 1\n", "[run]\nseed = 2\n", sets=("run.batch_size=4", "loop.use=probe/replay"))


def test_a_component_named_with_and_without_its_plugin_is_one(folder: Path) -> None:
    recipe = layered(folder, REPLAYS, '[loop]\nuse = "replay"\n')
    assert recipe.table["loop"] == {"use": "probe/replay", "replays": 3}


def test_the_loop_alternates_unless_a_recipe_says_otherwise(folder: Path) -> None:
    assert layered(folder).table["loop"] == {"use": "standard/alternating"}


def test_the_resolved_table_reads_back_as_the_same_recipe(folder: Path) -> None:
    recipe = layered(folder)
    again = check_table(tomllib.loads(toml.dumps(recipe.table)), registry(), name="again")
    assert again.table == recipe.table


def test_merge_leaves_its_arguments_alone() -> None:
    base, over = {"a": {"b": 1}}, {"a": {"c": [2]}}
    merged = merge(base, over)
    merged["a"]["c"].append(3)
    merged["a"]["b"] = 4
    assert base == {"a": {"b": 1}}
    assert over == {"a": {"c": [2]}}


def test_every_shipped_recipe_says_what_it_is() -> None:
    from gancore.registry import registry as installed

    for name, path in installed().recipes().items():
        assert len(toml.read(path).get("summary", "")) > 10, name


@pytest.mark.parametrize(
    ("keys", "active"),
    [
        (TermKeys(), [0, 1, 2, 3, 4, 5]),
        (TermKeys(every=2), [0, 2, 4]),
        (TermKeys(every=2, start=1), [1, 3, 5]),
        (TermKeys(start=2, stop=4), [2, 3]),
        (TermKeys(weight=0.0), []),
    ],
)
def test_the_keys_of_a_term_say_when_it_takes_part(keys: TermKeys, active: list[int]) -> None:
    assert [iteration for iteration in range(6) if keys.active(iteration)] == active


def test_a_summary_is_of_the_file_that_has_it_alone(folder: Path) -> None:
    (folder / "mine.toml").write_text('extends = "base.toml"\n[data]\nuse = "digits"\n')
    assert "summary" not in read(str(folder / "mine.toml"), registry()).table
    assert "summary" not in layered(folder, 'summary = "Fragment"\n[run]\nseed = 4\n').table
    assert "summary" not in layered(folder, sets=("data.flip=true",)).table
    assert layered(folder, sets=("run.seed=4",)).table["summary"] == "Base"
    assert layered(folder, sets=("data.flip=true", "summary=Ana's run")).table["summary"] == "Ana's run"


def test_the_papers_of_all_files_and_components_are_kept(folder: Path) -> None:
    (folder / "base.toml").write_text('cite = "arXiv:1"\n' + BASE)
    (folder / "child.toml").write_text('extends = "base.toml"\ncite = ["arXiv:2", "arXiv:1"]\n')
    (folder / "over.toml").write_text('cite = "arXiv:3"\n[losses.balance]\nuse = "probe/balance"\n')
    recipe = read(str(folder / "child.toml"), registry(), overlays=[str(folder / "over.toml")])
    assert recipe.table["cite"] == ["arXiv:1", "arXiv:2", "arXiv:3"]
    of_components = {entry.declared.cite for entry in recipe.entries.values() if entry.declared.cite}
    assert "arXiv:1809.11096" in of_components
    assert recipe.cites[:3] == ["arXiv:1", "arXiv:2", "arXiv:3"]
    assert set(recipe.cites) == {"arXiv:1", "arXiv:2", "arXiv:3", *of_components}
    assert len(recipe.cites) == len(set(recipe.cites))
    base = read(str(folder / "base.toml"), registry(), overlays=[str(folder / "over.toml")])
    assert {**recipe.table, "cite": None} == {**base.table, "cite": None}


@pytest.mark.parametrize("text", ["summary = 3", "cite = 3", "cite = [3]", "extends = ['x']", "summary = ['x']"])
def test_texts_that_are_none_are_refused(folder: Path, text: str) -> None:
    (folder / "bad.toml").write_text(text)
    with pytest.raises(GancoreError, match=rf"{text.split(' ')[0]} must be "):
        read(str(folder / "bad.toml"), registry())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("value", ["true", "3", "[1]", "'x'"])
def test_a_table_that_is_none_is_refused(folder: Path, table: str, value: str) -> None:
    with pytest.raises(GancoreError, match=rf"{table} must (be a table|hold tables)"):
        layered(folder, sets=(f"{table}={value}",))


@pytest.mark.parametrize("table", sorted({*TABLES} - {*GROUPS, "ema", "evaluation"}))
def test_a_table_that_every_recipe_has_can_not_be_switched_off(folder: Path, table: str) -> None:
    with pytest.raises(GancoreError, match=rf"{table} must be a table.*, not False"):
        layered(folder, sets=(f"{table}=false",))


def test_recipes_in_a_circle_are_refused_wherever_they_lie(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "a.toml").write_text('extends = "below/b.toml"\n')
    (folder / "below" / "b.toml").write_text('extends = "../a.toml"\n')
    with pytest.raises(GancoreError, match=r"a.toml extends itself, by way of ") as caught:
        read(str(folder / "a.toml"), registry())
    assert len(str(caught.value)) < 1000


def test_too_many_recipes_that_extend_each_other_are_refused(folder: Path) -> None:
    for number in range(60):
        (folder / f"r{number}.toml").write_text(f'extends = "r{number + 1}.toml"\n')
    with pytest.raises(GancoreError, match="too many that extend each other"):
        read(str(folder / "r0.toml"), registry())


def test_a_file_takes_no_installed_recipes_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "probe").mkdir()
    for name in ("game", "probe/game", "mine"):
        (folder / name).write_text(BASE)
    assert "Base" not in str(read("game", registry()).table.get("summary"))
    assert "Base" not in str(read("probe/game", registry()).table.get("summary"))
    assert read("./game", registry()).table["summary"] == "Base"
    with pytest.raises(GancoreError, match=r"there is no recipe 'mine'; for the file of that name write ./mine"):
        read("mine", registry())
