"""A run's folder: what lies where, and writing it so that a crash at any moment loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gancore.errors import GancoreError
from gancore.files import toml, write_text


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

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the folder of an existing run.

        Raises:
            GancoreError: There is none.
        """
        folder = cls(path)
        if not folder.recipe.is_file():
            raise GancoreError(
                f"{path} holds no run (there is no recipe.toml in it); name a folder that `gancore train` wrote."
            )
        return folder

    def create(self, table: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Make the folder and write what the run is.

        Raises:
            GancoreError: It can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.samples.mkdir(exist_ok=True)
        except OSError as error:
            raise GancoreError(f"{self.path} can't be written: {error.strerror}; choose another --out.") from error
        write_text(self.environment, json.dumps(environment, indent=2) + "\n")
        write_text(self.recipe, toml.dumps(table))

    def note(self, key: str, value: Any) -> None:
        """Write down one more thing about the environment that the run is made in."""
        write_text(self.environment, json.dumps({**self.describe(), key: value}, indent=2) + "\n")

    def describe(self) -> dict[str, Any]:
        """Return the environment that the run was made in; empty where the file is missing or damaged."""
        try:
            environment = json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return environment if isinstance(environment, dict) else {}

    @staticmethod
    def append(path: Path, entry: Mapping[str, Any]) -> None:
        """Append one JSON line.

        Raises:
            GancoreError: It can't be written.
        """
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise GancoreError(f"{path} can't be written: {error.strerror}; free space, and go on with --resume.") from error

    def forget_after(self, iteration: int) -> None:
        """Drop log lines, scores and samples of iterations that a resumed run will make again, and half-written lines."""
        try:
            for path in (self.log, self.scores):
                if path.exists():
                    before = [json.dumps(entry) + "\n" for entry in entries(path) if entry["iteration"] <= iteration]
                    write_text(path, "".join(before))
            for picture in self.samples.glob("[0-9]*.*"):
                if int(picture.stem) > iteration:
                    picture.unlink()
        except OSError as error:
            raise GancoreError(
                f"{self.path} can't be written: {error.strerror or error}; mend it, or choose another --out."
            ) from error


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file of JSON lines; a line that was cut off by a crash is passed over."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("iteration"), int):
                yield entry
