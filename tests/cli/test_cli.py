"""The command line as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

import gancore
import gancore.files.toml
from gancore import GancoreError
from gancore.cli import main as cli
from gancore.registry import Registry
from tests import standin
from tests.hosts import installed, registry

MORE = "`pip install 'gancore[all]'` brings the plugins of the project."


@click.command()
def greet() -> None:
    """Say hello; the command of a plugin in a test."""
    click.echo("hello")


@click.command()
def full() -> None:
    """Write to a full disk; a command of a plugin in a test."""
    raise OSError(28, "No space left on device", "/dev/full")


@click.command()
@click.option("--out", required=True)
def need(out: str) -> None:
    """Need an option; the command of a plugin in a test."""
    click.echo(out)


@click.command()
def refuse() -> None:
    """Refuse; the command of a plugin in a test."""
    raise GancoreError("this is refused; ask for something else.")


@pytest.fixture(autouse=True)
def _plugins_of_tests() -> Iterator[None]:
    with installed(registry()):
        yield


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False)


def test_the_list_names_every_plugin_that_is_installed() -> None:
    assert re.search(r"^probe +gancore-plugin-probe \S+: \d+ losses, .*3 recipes$", run("plugins").output, re.MULTILINE)


def test_doctor_says_what_is_here() -> None:
    done = run("doctor")
    assert done.exit_code == 0, done.output
    for word in ("torch ", "precision", "probe "):
        assert word in done.output


def test_a_command_that_is_not_there_is_one_sentence() -> None:
    done = run("plugin")
    assert done.exit_code == 2
    assert done.stderr == f"Error: there is no command 'plugin' (did you mean 'plugins'?); see `gancore --help`. {MORE}\n"
    assert run("something", "else").stderr == f"Error: there is no command 'something'; see `gancore --help`. {MORE}\n"


def test_doctor_tells_what_a_plugin_finds_broken() -> None:
    @gancore.hookimpl
    def gancore_doctor() -> Iterator[str]:
        yield "one thing is here"
        raise GancoreError("the other is not.")

    module = ModuleType("ailing")
    module.gancore_doctor = gancore_doctor  # type: ignore[attr-defined]
    with installed(Registry.of({"ailing": module})):
        done = run("doctor")
    assert done.exit_code == 1
    assert "BROKEN: the other is not." in done.output


def test_help_gives_each_command_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("--help").output.split("Parts and plugins:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == sorted(cli.main.commands)
    assert not any(line.endswith((".", "...")) for line in lines)


def test_commands_stand_below_the_headings_that_they_name() -> None:
    module = ModuleType("commanding")

    @gancore.hookimpl
    def gancore_commands() -> Iterator[gancore.Component]:
        yield gancore.Component("zeal", "tests.cli.test_cli:greet", "Ends the first list", group="Recipes and training")
        yield gancore.Component("ask", "tests.cli.test_cli:greet", "Has a heading of its own", group="Answers")
        yield gancore.Component("greet", "tests.cli.test_cli:greet", "Names none")
        yield gancore.Component("begin", "tests.cli.test_cli:greet", "Begins the first list", group="Recipes and training")

    module.gancore_commands = gancore_commands  # type: ignore[attr-defined]
    with installed(Registry.of({"commanding": module})):
        listed = run("--help").output.split("exit.\n")[-1]
    words = [line.split()[0] if line.startswith(" ") else line for line in listed.splitlines() if line]
    first, own = ["Recipes and training:", "begin", "zeal"], ["Parts and plugins:", *sorted(cli.main.commands)]
    assert words == [*first, *own, "Answers:", "ask", "More:", "greet"]


def test_a_command_of_a_plugin_is_listed_and_imported_when_called() -> None:
    module = ModuleType("commanding")

    @gancore.hookimpl
    def gancore_commands() -> list[gancore.Component]:
        return [gancore.Component("greet", "tests.cli.test_cli:greet", "Greets")]

    module.gancore_commands = gancore_commands  # type: ignore[attr-defined]
    found = Registry.of({"standard": standin, "commanding": module})
    with installed(found):
        assert re.search(r"\nMore:\n  greet +Greets\n", run("--help").output)
        assert run("greet").output == "hello\n"


def test_what_a_command_of_a_plugin_refuses_is_one_sentence_and_status_2() -> None:
    module = ModuleType("commanding")

    @gancore.hookimpl
    def gancore_commands() -> list[gancore.Component]:
        return [
            gancore.Component("refuse", "tests.cli.test_cli:refuse", "Refuses"),
            gancore.Component("gone", "tests.cli.test_cli:gone", "Can't be imported"),
            gancore.Component("need", "tests.cli.test_cli:need", "Needs an option"),
            gancore.Component("full", "tests.cli.test_cli:full", "Writes to a full disk"),
        ]

    module.gancore_commands = gancore_commands  # type: ignore[attr-defined]
    with installed(Registry.of({"commanding": module})):
        done, gone, filled = run("refuse"), run("gone"), run("full")
        needed, unknown = run("need"), run("need", "--\x1b[31m")
    assert (done.exit_code, done.stderr) == (2, "Error: this is refused; ask for something else.\n")
    sentence = "Error: /dev/full can't be read or written: No space left on device; mend that, and try again.\n"
    assert (filled.exit_code, filled.stderr) == (2, sentence)
    assert (needed.exit_code, needed.stderr.splitlines()[-1]) == (2, "Error: Missing option '--out'.")
    assert (unknown.exit_code, "\x1b" in unknown.stderr) == (2, False)
    assert gone.exit_code == 2
    assert re.fullmatch(r"Error: commanding/gone of .* can't be loaded from .*\n", gone.stderr)
