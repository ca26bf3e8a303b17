"""``gancore components``: what it lists, and that its lines are text alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import gancore_training
import pytest
from gancore_training import aligned

from tests.cli.test_cli import run
from tests.hosts import installed, registry


@pytest.fixture(autouse=True)
def _plugins_of_tests() -> Iterator[None]:
    with installed(registry(training=gancore_training)):
        yield


def test_it_names_everything_that_is_installed() -> None:
    assert "probe/balance" in run("components", "loss").output
    assert "standard/linear" not in run("components", "loss").output
    assert "standard/linear" in run("components").output


def test_a_kind_that_is_not_there_is_refused() -> None:
    done = run("components", "los")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: there is no kind 'los' (did you mean 'loss'?) (the kinds: accelerator, attack, ")


def test_columns_start_at_one_place_and_hold_text_alone() -> None:
    assert [*aligned([("a\x1b\nb", "c"), ("d", "e")], indent=1)] == [" a? b  c", " d     e"]


@pytest.mark.parametrize("words", [["recipes"], ["components"], ["components", "--help"]])
def test_no_list_imports_torch(words: list[str]) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gancore.cli.main import main\n"
        f"result = CliRunner().invoke(main, {words!r}); assert result.exit_code == 0, result.output\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
