"""A command line that is printed can be pasted into a shell, and a path that is none is refused."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from gancore_training.options import command_line, path_type, recipe_options, recipe_title, recipe_words

from gancore.errors import GancoreError

WORDS = ["a b", "Ana's", 'say "x"', "$HOME", "`id`", "a;b", "a\\b", "*", "x=[1, 2]", "~", "#no", "!!", ""]


def test_a_printed_line_gives_a_shell_the_words_that_it_was_made_of() -> None:
    line = command_line("train", *recipe_words("my recipe.toml", WORDS[:5], WORDS), "--out", Path("runs/it's"))
    done = subprocess.run(["sh", "-c", f"set -f; printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    words = done.stdout.split("\0")[:-1]
    assert words == shlex.split(line)
    layers = [word for each in WORDS[:5] for word in ("--with", each)]
    values = [word for each in WORDS for word in ("--set", each)]
    assert words == ["gancore", "train", "my recipe.toml", *layers, *values, "--out", "runs/it's"]


def test_a_device_that_was_asked_for_is_asked_for_again() -> None:
    assert recipe_words("x", [], [], "cpu") == ["x", "--device", "cpu"]
    assert recipe_words("x", [], [], "auto") == ["x"]


def test_the_words_mean_the_same_to_a_command() -> None:
    seen = {}

    @click.command()
    @click.argument("recipe")
    @recipe_options
    @click.option("--out", type=path_type)
    def again(**words: object) -> None:
        seen.update(words)

    line = command_line("again", *recipe_words("r", ["a b"], ["x='1'"]), "--out", "it's")
    assert CliRunner().invoke(again, shlex.split(line)[2:]).exit_code == 0
    assert seen == {"recipe": "r", "overlays": ("a b",), "assignments": ("x='1'",), "out": Path("it's")}


@pytest.mark.parametrize("option", ["--out", "RUN"])
def test_a_path_of_a_command_line_is_refused_by_its_name(option: str) -> None:
    @click.command()
    @click.argument("run", type=path_type, required=False)
    @click.option("--out", type=path_type)
    def command(**_: object) -> None:
        raise AssertionError

    words = ["--out", "x" * 300] if option == "--out" else ["x" * 300]
    with pytest.raises(GancoreError, match=rf"^{option} 'xxx.* is no path that can be looked at: File name too long"):
        CliRunner().invoke(command, words, catch_exceptions=False)


def test_a_folder_is_named_after_files_and_installed_recipes() -> None:
    assert recipe_title("./some/tiny.toml", ["cbgan/free", "../x"]) == "tiny+cbgan-free+x"
