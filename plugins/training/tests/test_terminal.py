"""What a terminal of some width shows of a training, what is asked before a long one, and what is told of those before it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gancore_training import Progress, Terminal, train

from gancore import GancoreError
from gancore.files import toml
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.hosts import BALANCE, CPU, GAME, registry

LOSSES = {"discriminator/adversarial": 0.6931, "generator/adversarial": 12345.6, "generator/balance": -1.895}


class Screen(io.StringIO):
    """A terminal of so many columns that obeys what `Terminal` sends it."""

    def __init__(self, columns: int = 80, encoding: str = "utf-8") -> None:
        super().__init__()
        self.columns, self._encoding = columns, encoding
        self.rows, self.row = [""], 0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        for piece in re.findall(r"\x1b\[\d*[A-Z]|[\r\n]|[^\x1b\r\n]+", text):
            if piece == "\n":
                self.row += 1
                self.rows += [""] * (self.row == len(self.rows))
            elif piece.endswith("A") and piece.startswith("\x1b"):
                self.row -= int(piece[2:-1])
            elif piece == "\x1b[J":
                self.rows[self.row :] = [""]
            elif piece != "\r":
                self.rows[self.row] += piece
                # A terminal would break the line there, and no move would come back to its beginning.
                assert len(self.rows[self.row]) <= self.columns
        return len(text)


def terminal(monkeypatch: pytest.MonkeyPatch, screen: Screen, *, ask: bool = False) -> Terminal:
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", str(screen.columns))
    monkeypatch.setenv("TERM", "xterm")
    return Terminal(ask=ask)


def test_a_terminal_shows_what_counts_and_what_is_said_stays_above(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    shown = terminal(monkeypatch, screen)
    shown.announce("digits: 2000 iterations")
    shown.began("digits", Path("runs/digits"), 0, 2000)
    shown.advanced(500, 2000, 10.0, LOSSES)
    assert len(screen.rows) == 4
    head, bar, losses, where = screen.rows
    assert head == "digits: 2000 iterations"
    assert re.fullmatch(r"█+░+  25 % 500/2000  0 s, 2 min 30 s left  10 it/s", bar)
    assert bar.count("█") == pytest.approx(bar.count("░") / 3, abs=2)
    assert losses == "D: adversarial 0.693   G: adversarial 1.23e+04  balance -1.895"
    assert where == "into runs/digits"
    shown.scored(500, {"fid/fid": 12.345, "classes/kl": 0.5})
    shown.announce("iteration 500: fid/fid 12.35")
    assert screen.rows[:2] == [head, "iteration 500: fid/fid 12.35"]
    shown.advanced(2000, 2000, 10.0, LOSSES)
    shown.ended()
    shown.announce("trained 3 min")
    assert screen.rows[-1] == ""
    *_, bar, losses, where, told, _ = screen.rows
    assert "100 % 2000/2000" in bar
    assert re.fullmatch(r"fid 12\.35, classes/kl 0\.5 at 500 +into runs/digits", where)
    assert told == "trained 3 min"
    assert len(screen.rows) == 7


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_nothing_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(columns)
    shown = terminal(monkeypatch, screen)
    shown.began("x", Path("a" * 70), 0, 1_000_000)
    shown.scored(7, {f"metric{number}/value": 1.5 for number in range(9)})
    shown.advanced(10, 1_000_000, 0.01, {f"player/loss{number}": 0.5 for number in range(30)})
    assert max(map(len, screen.rows)) < columns
    assert len(screen.rows) == 4
    assert screen.rows[2].endswith(" ...")
    assert "100 s/it" in screen.rows[0] or columns == 40


def test_a_terminal_that_has_no_blocks_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(encoding="ascii")
    shown = terminal(monkeypatch, screen)
    shown.began("x", Path("runs"), 0, 10)
    shown.advanced(5, 10, 1.0, {})
    assert re.match(r"#+-+  50 %", screen.rows[0])


def test_the_bar_moves_between_lines_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    shown = terminal(monkeypatch, screen)
    shown.LIVE_EVERY = 0.0
    shown.began("x", Path("runs"), 40, 100)
    shown.ticked(41)
    assert " 41 % 41/100 " in screen.rows[0]


def test_what_is_no_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(200)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    shown = Terminal()
    shown.began("x", Path("runs"), 0, 4)
    shown.ticked(1)
    shown.advanced(4, 4, 2.0, LOSSES)
    shown.ended()
    assert screen.rows == ["      4/4  2.0 it/s  0 s left  " + "  ".join(f"{k} {v:.3f}" for k, v in LOSSES.items()), ""]


class Answers(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "ask", "answer", "outcome"),
    [
        (7500.0, True, "y\n", "asked"),
        (7500.0, True, "\n", "asked"),
        (7500.0, True, "n\n", "refused"),
        (590.0, True, "", "silent"),
        (7500.0, False, "", "silent"),
    ],
)
def test_only_what_is_long_is_asked_for(
    seconds: float, ask: bool, answer: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    shown = terminal(monkeypatch, screen, ask=ask)
    monkeypatch.setattr(sys, "stdin", Answers(answer))
    if outcome == "refused":
        with pytest.raises(GancoreError, match="nothing is trained; --yes begins without asking"):
            shown.agree(seconds)
    else:
        shown.agree(seconds)
        # The trainings inside are part of what was agreed to.
        shown.agree(seconds)
    assert "".join(screen.rows).count("About 2 h 5 min in all. Go on? [Y/n]:") == (outcome != "silent")


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    shown = terminal(monkeypatch, screen, ask=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    shown.agree(1e6)
    assert screen.rows == [""]


CLASSIFIER: dict[str, Any] = {
    "run": {"iterations": 2, "batch_size": 16},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "standard/small-cnn"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
}


class Told(Progress):
    """Remembers what it is told, and does not agree to anything where it is told so."""

    def __init__(self, *, agrees: bool = True) -> None:
        self.said: list[str] = []
        self.agrees = agrees

    def announce(self, text: str) -> None:
        self.said.append(text)

    def agree(self, seconds: float) -> None:
        self.said.append(f"agree to more than nothing: {seconds > 0}")
        if not self.agrees:
            raise GancoreError("no.")

    def began(self, name: str, folder: Path, iteration: int, total: int) -> None:
        self.said.append(f"began {name} {iteration}/{total}")

    def scored(self, iteration: int, scores: Mapping[str, float]) -> None:
        self.said.append(f"scored {iteration} {sorted(scores)}")


@pytest.mark.parametrize("agrees", [True, False])
def test_what_is_trained_first_is_told_before_anything_is(
    agrees: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "judge.toml"
    path.write_text(toml.dumps(CLASSIFIER))
    first = {"networks": {"classifier": {"use": "standard/small-cnn", "trained_by": str(path)}}}
    recipe = check_table(merge(GAME, merge(BALANCE, first)), registry(), name="game")
    told = Told(agrees=agrees)
    if agrees:
        train(recipe, registry(), tmp_path / "run", device=CPU, progress=told)
    else:
        with pytest.raises(GancoreError, match=r"no\."):
            train(recipe, registry(), tmp_path / "run", device=CPU, progress=told)
    about = r"about [\d.]+ (s|min).*"
    listed = ["Trained first, once:", rf"  {path} .*: 2 iterations, {about}", "and then:", rf"  game: 8 iterations, {about}"]
    for said, expected in zip(told.said, [*listed, "agree to more than nothing: True"], strict=False):
        assert re.fullmatch(expected, said)
    assert [said for said in told.said if said.startswith("began")] == (
        [f"began {path} (for networks.classifier) 0/2", "began game 0/8"] if agrees else []
    )
    assert len(told.said) > 5 if agrees else len(told.said) == 5
    assert (tmp_path / "cache" / "trained").exists() == agrees
    again = Told()
    if agrees:
        train(recipe, registry(), tmp_path / "again", device=CPU, progress=again)
        assert "Trained first, once:" not in again.said
