"""Core alone: no plugin is installed, and nothing that only plugins need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("PIL", "jinja2", "scipy", "sklearn", "torchvision") or name.startswith("gancore_"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

COMMAND = """
from gancore.registry import Registry
alone = Registry.discover([])
Registry.discover = lambda: alone
from gancore.cli.main import main
main(prog_name="gancore")
"""

NOTHING = "no plugin is installed; `pip install 'gancore[all]'` brings the plugins of the project."


def gancore(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ABSENT + COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [["--help"], ["plugins", "--help"], ["doctor"]])
def test_what_needs_no_plugin_works(words: list[str], tmp_path: Path) -> None:
    done = gancore(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_suite_for_authors_says_what_to_install(tmp_path: Path) -> None:
    program = ABSENT + "from gancore.testing import conformance"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = "ImportError: gancore.testing needs its own distribution: `pip install gancore-plugin-testing`."
    assert done.stderr.splitlines()[-1] == said


def test_the_list_says_that_nothing_is_installed(tmp_path: Path) -> None:
    done = gancore("plugins", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, NOTHING + "\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "digits"], f"there is no command 'train': {NOTHING}"),
        (["train", "gans/digits"], f"there is no command 'train': {NOTHING}"),
        (["evaluate", "runs/report"], f"there is no command 'evaluate': {NOTHING}"),
        (["train", "standard/digits"], "there is no command 'train'; try `pip install gancore-plugin-standard`."),
        (["train", "x.toml", "--with", "report/x"], "there is no command 'train'; try `pip install gancore-plugin-report`."),
    ],
)
def test_a_command_that_a_plugin_would_bring_says_what_to_install(words: list[str], sentence: str, tmp_path: Path) -> None:
    done = gancore(*words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"Error: {sentence}\n")
