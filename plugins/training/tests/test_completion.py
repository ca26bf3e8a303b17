"""What a shell is offered: commands, recipes, fragments, keys and names; without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.shell_completion import BashComplete
from gancore_training import complete_name

import gancore
from gancore.cli.main import main
from gancore.registry import Registry
from tests.cli.test_cli import run
from tests.hosts import installed

GAME = """summary = "A game"
[data]
use = "shop/toy"
[losses.adversarial]
use = "shop/hinge"
margin = 2
"""


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path) -> Iterator[None]:
    module = ModuleType("shop")

    @gancore.hookimpl
    def gancore_recipes() -> Iterator[Path]:
        yield tmp_path

    @gancore.hookimpl
    def gancore_loss_terms() -> Iterator[gancore.Component]:
        yield gancore.Component("hinge", "a:b", "A loss")

    @gancore.hookimpl
    def gancore_commands() -> Iterator[gancore.Component]:
        yield gancore.Component("train", "gancore_training.commands:train", "Train")
        yield gancore.Component("show", "plugins.training.tests.test_completion:show", "Show")
        yield gancore.Component("completion", "gancore_training.completion:completion", "Complete")

    for hook in (gancore_recipes, gancore_loss_terms, gancore_commands):
        setattr(module, hook.__name__, hook)
    (tmp_path / "game.toml").write_text(GAME)
    (tmp_path / "game-longer.toml").write_text('extends = "shop/game"\n')
    (tmp_path / "penalty.toml").write_text('summary = "Fragment: a penalty"\n')
    with installed(Registry.of({"shop": module})):
        yield


@click.command()
@click.argument("name", shell_complete=complete_name)
def show(name: str) -> None:
    """Show."""
    click.echo(name)


def offered(*words: str) -> list[str]:
    """What a shell is offered in place of the last word."""
    completions = BashComplete(main, {}, "gancore", "_GANCORE_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [one.value for one in completions if one.type == "plain"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["train", ""], ["shop/game", "shop/game-longer", "shop/penalty"]),
        (["train", "shop/game-"], ["shop/game-longer"]),
        (["train", "shop/game", "--with", ""], ["shop/penalty"]),
        (["train", "shop/game", "--with", "shop/g"], ["shop/game", "shop/game-longer"]),
        (["train", "shop/game", "--set", "run.see"], ["run.seed="]),
        (["train", "shop/game-longer", "--set", "losses.adversarial.m"], ["losses.adversarial.margin="]),
        (["train", "shop/game", "--set", "losses.adversarial.st"], ["losses.adversarial.start=", "losses.adversarial.stop="]),
        (["train", "shop/game", "--set", "summ"], []),
        (["train", "no/recipe", "--set", "ema.de"], ["ema.decay="]),
        (["show", "eval"], ["evaluation"]),
        (["show", "shop/h"], ["shop/hinge"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_a_shell_is_offered_what_fits(words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_a_path_is_left_to_the_shell() -> None:
    completions = BashComplete(main, {}, "gancore", "_GANCORE_COMPLETE").get_completions(["train"], "./ga")
    assert [(one.value, one.type) for one in completions] == [("./ga", "file")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_that_of_the_shell(shell: str) -> None:
    script = run("completion", shell).output
    assert f"_GANCORE_COMPLETE={shell}_complete" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_completing_imports_no_torch() -> None:
    program = "import sys\nfrom gancore.cli.main import main\ntry:\n    main(prog_name='gancore')\nfinally:\n"
    program += "    print('torch' in sys.modules)"
    words = {"COMP_WORDS": "gancore train standard/base-3", "COMP_CWORD": "2", "_GANCORE_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | words, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
