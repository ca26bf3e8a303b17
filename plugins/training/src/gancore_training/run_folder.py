"""A run's folder: what lies where, whether a training may go there, and writing it so that a crash loses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancore import GancoreError
from gancore.tools import sweep, toml, write_text, writing
from gancore_training.lines import append_line
from gancore_training.lock import is_claim

if TYPE_CHECKING:
    from gancore.tools import Plan


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.environment = path / "environment.json"
        self.log = path / "log.jsonl"
        self.scores = path / "scores.jsonl"
        self.attacks = path / "attacks.jsonl"
        self.samples = path / "samples"
        self.weights = path / "weights"

    def refuse_links(self) -> None:
        """Refuse what is no file in the place of the run's own: a folder from a stranger could lead anywhere, or wait for ever.

        Raises:
            GancoreError: There is a link, or a pipe, a socket or a device.
        """
        folders = (self.samples, self.weights, self.path / "checkpoints")
        files = (self.recipe, self.environment, self.log, self.scores, self.attacks)
        for path in (*files, *folders, *(path for folder in folders for path in folder.glob("*"))):
            if path.is_symlink():
                raise GancoreError(f"{path} is a link, and a run's files lie in its folder; put there what it points to.")
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise GancoreError(f"{path} is no file but a pipe, a socket or a device; remove it, and try again.")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the folder of an existing run.

        Raises:
            GancoreError: There is none.
        """
        folder = cls(path)
        folder.refuse_links()
        if not folder.recipe.is_file():
            raise GancoreError(
                f"{path} holds no run (there is no recipe.toml in it); name a folder that `gancore train` wrote."
            )
        return folder

    def begun(self) -> bool:
        """Return whether a run was begun here.

        Raises:
            GancoreError: It is a file, or holds other files, or links in the place of its own.
        """
        self.refuse_links()
        # A run that was killed while it was begun has left no other files; on another host, perhaps these.
        sweep(self.path)
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
        empty = not self.path.is_file() and all(is_claim(name) or name.endswith(".gancore-part") for name in names)
        if not empty and not self.recipe.exists():
            raise GancoreError(f"{self.path} holds other files and no run; choose another --out.")
        return not empty

    def trained(self) -> bool:
        """Return whether a run lies here that has anything to lose: a line of its log, a picture, a checkpoint.

        One that failed in its first iteration has not, so that its folder is free for any recipe.

        Raises:
            GancoreError: As `begun`.
        """
        lines = (self.log, self.scores, self.attacks)
        files = (path for folder in (self.samples, self.weights, self.path / "checkpoints") for path in folder.glob("*"))
        return self.begun() and (any(path.exists() for path in lines) or any(files))

    def check(self, plan: Plan, *, resume: bool, changed: bool = False) -> None:
        """Refuse a folder that holds something else than the run to go on with.

        Args:
            plan: Of what is to be trained.
            resume: Whether to go on with a run.
            changed: Whether numbers of its recipe may have changed.

        Raises:
            GancoreError: It holds other files, a run that was not asked to be resumed, or one of another recipe.
        """
        if not self.trained():
            return
        if not resume:
            raise GancoreError(f"{self.path} already holds a run; go on with --resume, or choose another --out.")
        # What stopped before its first checkpoint, perhaps at a wrong setting, has nothing to lose.
        if checkpoints(self.path):
            # It imports torch, which looking at runs needs no more than this.
            from gancore_training.changes import refuse_another

            refuse_another(str(self.path), toml.read(self.recipe), plan, changed=changed)

    def create(self, table: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Make the folder and write what the run is.

        Raises:
            GancoreError: It can't be written.
        """
        # First, so that what is killed in between is known for a run.
        write_text(self.recipe, toml.dumps(table))
        self.describe(environment)
        with writing(self.path, "choose another --out"):
            self.samples.mkdir(exist_ok=True)

    def describe(self, environment: Mapping[str, Any]) -> None:
        """Write what the run is made with."""
        write_text(self.environment, json.dumps(environment, indent=2) + "\n")

    @staticmethod
    def append(path: Path, entry: Mapping[str, Any]) -> None:
        """Append one JSON line.

        Raises:
            GancoreError: It can't be written.
        """
        append_line(path, json.dumps(entry), "free space, and go on with --resume")

    def forget_after(self, iteration: int) -> None:
        """Drop log lines, scores and samples of iterations that a resumed run will make again, and half-written lines."""
        for path in (self.log, self.scores):
            with writing(path, "mend it, or choose another --out"):
                if path.exists():
                    before = [json.dumps(entry) + "\n" for entry in entries(path) if entry["iteration"] <= iteration]
                    write_text(path, "".join(before))
        with writing(self.samples, "mend it, or choose another --out"):
            for picture in _numbered(self.samples, "*"):
                if int(picture.stem) > iteration:
                    picture.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return _numbered(folder / "checkpoints", "safetensors")


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a folder that an iteration names, as gancore names them; others are somebody's own."""
    return sorted(path for path in folder.glob(f"[0-9]*.{suffix}") if re.fullmatch("[0-9]{8,15}", path.stem, re.ASCII))


def entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file of JSON lines, if it is there; a line that was cut off by a crash is passed over."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else ():
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("iteration"), int):
            lines.append(entry)
    return lines
