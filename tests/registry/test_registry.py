"""Discovery, names and conflicts."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import gancore
from gancore import Component, GancoreError
from gancore.registry import Registry
from tests import standin
from tests.hosts import installed


def plugin(**hooks: list[Any]) -> ModuleType:
    """Return a declaring module whose hooks yield what is given."""
    module = ModuleType("made_for_a_test")
    for name, yielded in hooks.items():

        def hook(yielded: list[Any] = yielded) -> Any:
            return yielded

        hook.__name__ = name
        # pluggy reads the arguments from the signature, and a default would be one.
        wrapped: Any = eval("lambda: hook()", {"hook": hook})
        setattr(module, name, gancore.hookimpl(wrapped))
    return module


def loss(name: str) -> list[Component]:
    return [Component(name, "somewhere:Some", "Some")]


def test_a_bare_name_works_while_it_is_unique() -> None:
    found = Registry.of({"standard": standin, "mine": plugin(gancore_loss_terms=loss("new"))})
    assert found.component("loss", "new", "here").full_name == "mine/new"
    assert found.component("loss", "mine/new", "here").full_name == "mine/new"


def test_an_ambiguous_bare_name_is_an_error_that_names_all_parties() -> None:
    found = Registry.of({"standard": standin, "mine": plugin(gancore_loss_terms=loss("hinge"))})
    with pytest.raises(
        GancoreError, match=r"here uses 'hinge', which is ambiguous: it may be standard/hinge .* and mine/hinge"
    ):
        found.component("loss", "hinge", "here")
    assert found.component("loss", "standard/hinge", "here").plugin == "standard"


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("loss", "hnige", "here uses the loss 'hnige', which does not exist (did you mean 'hinge'?)"),
        ("loss", "standard/hnige", "did you mean 'standard/hinge'?"),
        ("loss", "linear", "is a head and a schedule, not a loss."),
        ("loss", "nowhere/term", "which is not installed; ask whoever named it where it comes from."),
        ("loss", "standrad/hinge", "did you mean 'standard'?"),
        ("loss", "./mine.py:Mine", "is code without a plugin, which runs where --trust-local, or Python, gives it alone."),
    ],
)
def test_an_unknown_component_gets_the_nearest_help(kind: str, name: str, sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        Registry.of({"standard": standin}).component(kind, name, "here")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("plugins", "name", "sentence"),
    [
        ({}, "digits", "there is no recipe 'digits': no plugin is installed; `pip install 'gancore[all]'`"),
        ({}, "gans/digits", "the recipe 'gans/digits' needs the plugin 'gans', which is not installed; ask whoever named it"),
        ({"standard": standin}, "digits", "there is no recipe 'digits'; see `gancore recipes`, or name a .toml file."),
        ({}, "standard/digits", "which is not installed; try `pip install gancore-plugin-standard`."),
    ],
)
def test_a_recipe_that_is_not_there_says_what_to_install(plugins: dict[str, Any], name: str, sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        Registry.of(plugins).recipe_path(name)
    assert sentence in str(caught.value)


def test_a_name_that_is_no_plugin_name_is_refused() -> None:
    found = Registry.of({"Mine!": plugin()})
    assert "lower-case letters, digits and dashes" in str(found.plugins()[0].problem)


def test_core_is_no_plugin() -> None:
    assert Registry.discover([]).plugins() == []


def test_one_broken_entry_point_leaves_the_others() -> None:
    points = [
        metadata.EntryPoint("bad", "no_such_module_anywhere", "gancore"),
        metadata.EntryPoint("probe", "tests.probe", "gancore"),
    ]
    found = {plugin.name: plugin for plugin in Registry.discover(points).plugins()}
    assert found["bad"].problem is not None
    assert found["probe"].problem is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise KeyboardInterrupt", "importing it raised KeyboardInterrupt"),
        ("raise SystemExit(3)", "importing it raised SystemExit: 3"),
        ("class Own(BaseException): pass\nraise Own('gone')", "importing it raised Own: gone"),
        ("raise GeneratorExit", "importing it raised GeneratorExit"),
        (
            "import gancore\n@gancore.hookimpl\ndef gancore_heads():\n    raise KeyboardInterrupt\n    yield",
            "its gancore_heads raised KeyboardInterrupt",
        ),
        (
            "import gancore\n@gancore.hookimpl\ndef gancore_recipes():\n    raise GeneratorExit\n    yield",
            "its gancore_recipes raised GeneratorExit",
        ),
    ],
)
def test_a_plugin_is_isolated_whatever_its_import_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"raising_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    points = [metadata.EntryPoint("bad", name, "gancore"), metadata.EntryPoint("probe", "tests.probe", "gancore")]
    plugins = {plugin.name: plugin for plugin in Registry.discover(points).plugins()}
    assert f"is broken: {said}" in str(plugins["bad"].problem)
    assert not plugins["bad"].components
    assert plugins["probe"].problem is None


def test_ctrl_c_while_a_plugin_is_imported_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from importlib.metadata import EntryPoint; from gancore.registry import Registry\n"
        "print(Registry.discover([EntryPoint('slow', 'slow', 'gancore')]).plugins())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "CtrlC" in done.stderr


def test_discovery_leaves_the_handling_of_ctrl_c_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    Registry.discover([metadata.EntryPoint("probe", "tests.probe", "gancore")])
    assert signal.getsignal(signal.SIGINT) is before


def test_recipes_are_named_after_plugin_and_file(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("")
    found = Registry.of({"mine": plugin(gancore_recipes=[tmp_path])})
    assert found.recipes() == {"mine/one": tmp_path / "one.toml"}
    assert found.recipe_path("one") == tmp_path / "one.toml"
    with pytest.raises(GancoreError, match="did you mean 'one'"):
        found.recipe_path("on")


def test_discovery_and_what_the_command_line_lists_import_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gancore.cli.main import main\n"
        "for words in (['--help'], ['plugins'], ['plugins', '--help']):\n"
        "    result = CliRunner().invoke(main, words); assert result.exit_code == 0, result.output\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_completion_imports_no_torch() -> None:
    code = (
        "import os, sys; os.environ.update(_GANCORE_COMPLETE='bash_complete', COMP_WORDS='gancore pl', COMP_CWORD='1')\n"
        "from gancore.cli.main import main\n"
        "try: main(prog_name='gancore')\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "plugins" in done.stdout


def double(number: int) -> int:
    """Return twice a number; the function of a plugin in a test."""
    return 2 * number


def functions(*names: str) -> ModuleType:
    return plugin(gancore_functions=[Component(name, f"{__name__}:double", "Twice a number") for name in names])


def test_a_plugin_adds_functions_to_the_face() -> None:
    before = {*gancore.__all__}
    with installed(Registry.of({"mine": functions("double")})):
        assert {*dir(gancore)} == {*before, "double"}
        assert gancore.double(4) == 8  # type: ignore[attr-defined]
    with installed(Registry.of({})):
        assert {*dir(gancore)} == before
        with pytest.raises(AttributeError, match=r"'gancore' has no attribute 'double'.*`pip install 'gancore\[all\]'`"):
            _ = gancore.double  # type: ignore[attr-defined]


def test_no_plugin_takes_the_place_of_a_name_of_the_face_and_two_of_each_others() -> None:
    with installed(Registry.of({"mine": functions("rand", "double"), "yours": functions("double")})):
        assert gancore.rand.__module__.startswith("gancore.")
        assert not hasattr(gancore, "double")
        assert "double" not in dir(gancore)
