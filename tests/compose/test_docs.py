"""The documentation names what exists, and its code runs."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import click
import gancore_standard
import pytest
import torch
from gancore_report.paper_tables import table_files
from gancore_standard.robustness import robust_accuracy
from gancore_testing import host
from gancore_training.evaluate import Evaluator

import gancore
from gancore.cli.main import main
from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.recipe import check_table
from gancore.registry import Registry, registry
from tests import probe
from tests.conftest import PLUGINS
from tests.hosts import CPU, GAME

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_component_and_recipe_that_a_page_names_exists(page: Path) -> None:
    known = {c.full_name for c in registry().components()} | set(registry().recipes()) | set(table_files(registry()))
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(PLUGINS)})/[a-z0-9][a-z0-9-]*)(?![\w./{{<*-])", page.read_text())
    assert {*named} - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_of_a_command_that_a_page_names_exists(page: Path) -> None:
    context = click.Context(main)
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(r"(?<![\w/-])gancore ([a-z][a-z-]*)((?: [^`\n|;#]*)?)", text):
        command = main.get_command(context, name) if name in main.list_commands(context) else None
        if isinstance(command, click.Group):
            command = next((command.commands[word] for word in rest.split() if word in command.commands), None)
        if command is not None:
            known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
            assert {*re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)} - known == set(), f"gancore {name}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    # What the site generates the build of the site itself looks for.
    for link in re.findall(r"\]\((?!components/|python/|recipes\.md|command-line\.md)([^)#]+)\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_the_plugin_on_the_first_page_works_as_it_is_printed() -> None:
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL) if "class R1" in block]
    space: dict[str, object] = {}
    exec(code, space)
    term = space["R1"](gamma=4.0)  # type: ignore[operator]
    assert isinstance(term, gancore.LossTerm)
    x = torch.ones(2, 1, 2, 2, requires_grad=True)
    # The gradient of 3 * x is 3 at each of four pixels: 4 / 2 * (4 * 9) = 72.
    assert term.discriminator(real_view=x, real_adversarial=3 * x.sum((1, 2, 3))).item() == pytest.approx(72.0)


def test_the_first_page_says_how_long_a_plugins_project_file_is() -> None:
    lines = (ROOT / "examples" / "gancore-plugin-r1" / "pyproject.toml").read_text().splitlines()
    assert f"`pyproject.toml`, of [{len(lines)} lines][r1-project]" in PAGES[0].read_text()
    assert (
        sum("gancore" in line and "name" not in line for line in lines[lines.index("[project.entry-points.gancore]") :][:2])
        == 2
    )


def test_the_side_of_the_authors_page_is_added_and_read_as_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Rotated" in block]
    (losses,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[losses.rotated]" in block]
    printed = types.ModuleType("printed")
    exec(f"import attrs, gancore\n{code}", printed.__dict__)
    rotated = gancore.Component("rotated", "printed:Rotated", "Real images, turned")
    printed.gancore_samplers = gancore.hookimpl(lambda: [rotated], specname="gancore_samplers")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "printed", printed)
    table = {**GAME, **tomllib.loads(losses), "samplers": {"turn": {"use": "printed/rotated"}}}
    plugins = Registry.of({"standard": gancore_standard, "probe": probe, "printed": printed})
    run = Run(make_plan(check_table(table, plugins, name="printed"), plugins), CPU)
    batch = run.fresh()
    assert torch.equal(batch.sides["rotated"][0], batch.real.rot90(dims=(2, 3)))
    sizes: list[int] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    run.phase("discriminator", batch)
    assert sizes == [3 * len(batch.real)]
    assert set(run.losses) == {"discriminator/generated", "discriminator/rotated"}
    assert run.losses["discriminator/generated"] != run.losses["discriminator/rotated"]


def test_the_latent_and_the_score_of_the_authors_page_are_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = [block for block in blocks if "class Ring" in block or "class Learned" in block]
    assert len(code) == 2
    printed = types.ModuleType("printed")
    exec(
        "\n".join(["import math, torch, gancore, gancore.tools", "from torch.nn import functional as F", *code]),
        printed.__dict__,
    )
    ring, learned = gancore.Component("ring", "printed:Ring", "x"), gancore.Component("learned", "printed:Learned", "x")
    printed.gancore_latents = gancore.hookimpl(lambda: [ring], specname="gancore_latents")  # type: ignore[attr-defined]
    printed.gancore_metrics = gancore.hookimpl(lambda: [learned], specname="gancore_metrics")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "printed", printed)
    latent = {"run": {**GAME["run"], "latent_dim": 2}, "latent": {"use": "printed/ring"}}
    table = {**GAME, **latent, "metrics": {"learned": {"use": "printed/learned"}}}
    plugins = Registry.of({"standard": gancore_standard, "probe": probe, "printed": printed})
    run = Run(make_plan(check_table(table, plugins, name="printed"), plugins), CPU)
    batch = run.fresh()
    assert batch.z is not None
    torch.testing.assert_close(batch.z, torch.stack([batch.codes["angle"].cos(), batch.codes["angle"].sin()], 1))
    scores = Evaluator(run)()
    assert 0 <= scores.values["learned/accuracy"] <= 1
    assert scores.protocols["learned"]["images"] == 6400
    run.step()
    assert "discriminator/adversarial" in run.losses


def test_the_defense_of_the_authors_page_defends_as_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Noise" in block]
    printed = types.ModuleType("printed")
    exec(f"import torch, gancore\n{code}", printed.__dict__)
    noise = gancore.Component("noise", "printed:Noise", "x")
    printed.gancore_defenses = gancore.hookimpl(lambda: [noise], specname="gancore_defenses")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "printed", printed)
    table = {
        "run": GAME["run"],
        "data": GAME["data"],
        "loop": {"use": "standard/supervised"},
        "networks": {"classifier": {"use": "host/classifier"}},
        "losses": {"loss": {"use": "standard/cross-entropy"}},
    }
    plugins = Registry.of({"standard": gancore_standard, "printed": printed, "host": host})
    run = Run(make_plan(check_table(table, plugins, name="printed"), plugins), CPU)
    settings = {"defense": "printed/noise", "defense_settings": {"deviation": 0.2}}
    result = robust_accuracy(run, "host/ascent", [0.1], samples=20, **settings)  # type: ignore[arg-type]
    assert result.protocol["defense"] == {"use": "printed/noise", "settings": {"deviation": 0.2}, "sees": "through"}


def test_the_answer_on_python_runs_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "questions.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = '"cbgan/digits-lt", set={"losses.balance.weight": 5}'
    assert printed in code
    short = '"standard/digits", set={"run.batch_size": 8, "run.iterations": 1, "metrics": False, "networks.annotator": False}'
    space: dict[str, Any] = {}
    exec(code.replace(printed, short), space)
    assert space["images"].shape == (16, 1, 8, 8)
    assert len(space["run"].log) == 1


def test_the_first_page_shows_the_two_commands_that_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"    make {target} " in PAGES[0].read_text()
        assert f"\n{target}: $(READY)" in makefile


def test_every_page_is_in_the_sites_navigation() -> None:
    entries = re.findall(r"^  - [A-Z][\w ]*: (.*)$", (ROOT / "docs" / "site" / "mkdocs.yml").read_text(), re.MULTILINE)
    generated = {"recipes.md", "command-line.md", "notebook.md", "[]"}
    assert {path.name for path in ROOT.glob("docs/*.md")} == set(entries) - generated


def test_every_citation_can_be_looked_up_and_is_of_the_text_that_holds_it() -> None:
    recipes = [tomllib.loads(path.read_text()).get("cite", "") for path in ROOT.glob("plugins/*/src/*/recipes/*.toml")]
    cited = {component.cite for component in registry().components()} | set(recipes)
    assert [cite for cite in cited if cite and not re.fullmatch(r"(arXiv|OpenReview|eScholarship):[\w.-]+", cite)] == []
    # What is published at UAI 2021 is another text, with other numbers and without the perturbations.
    assert "arXiv:2106.09402" not in cited
