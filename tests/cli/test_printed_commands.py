"""What commands print: text alone, command lines that can be pasted into a shell, and one sentence where they refuse."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gancore.cli import main
from gancore.showing import say

ROOT = Path(__file__).resolve().parents[2]


def test_no_printed_line_is_put_together_by_hand() -> None:
    commands = "train|sample|evaluate|report|compare|ablate|attack|explain|show|uap|profile|field|new-plugin|components"
    by_hand = re.compile(rf"gancore ({commands}) [^`\"']*\{{(?!kind\}})")
    sources = [*ROOT.glob("gancore/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    lines = [(path.name, line.strip()) for path in sources for line in path.read_text().splitlines() if by_hand.search(line)]
    assert lines == []


def test_what_is_printed_is_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\x1b[2J\ntwo\x9b")
    assert capsys.readouterr().out == "one?[2J\ntwo?\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "there is not the memory for this",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "there is not the memory for this"),
        (MemoryError(), "there is not the memory for this (MemoryError)"),
        (click.UsageError("x\x1b" * 500), "x?x?"),
        (RuntimeError("a mistake"), None),
        (RecursionError(), None),
    ],
)
def test_what_the_machine_refuses_is_told_and_a_mistake_is_none_of_it(error: Exception, told: str | None) -> None:
    @click.command()
    def command() -> None:
        raise error

    done = CliRunner().invoke(main.Group(commands={"command": command}), ["command"])
    if told is None:
        assert done.exception is error
    else:
        assert done.exit_code == 2
        (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
        assert told in line
        assert len(line) < 410
