"""A network that is needed first and that another process trains: this one waits, and goes on where that one stops."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from gancore_training import prerequisites
from gancore_training.lock import holding
from gancore_training.progress import Progress
from gancore_training.trainer import train

from gancore.files import toml
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.hosts import BALANCE, CPU, GAME, registry

CLASSIFIER: dict[str, Any] = {
    "run": {"iterations": 2, "batch_size": 16},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "standard/small-cnn"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
}


class Other(Progress):
    """Another training that holds the folder of what is needed first, until this one has said twice that it needs it.

    Attributes:
        said: What this one has said.
        folder: The folder that is held.
    """

    def __init__(self, *, trains: bool) -> None:
        self.said: list[str] = []
        self.folder: Path | None = None
        self._held = contextlib.ExitStack()
        self._trains = trains

    def announce(self, text: str) -> None:
        self.said.append(text)
        if "training them first" in text:
            self.folder = Path(text.rpartition(" into ")[2])
            self._held.enter_context(holding(self.folder))

    def ends(self, _seconds: float) -> None:
        """End, as the training elsewhere does while this one sleeps: having trained the network, or stopped before."""
        self._held.close()
        if self._trains:
            assert self.folder is not None
            recipe = check_table(CLASSIFIER, registry(), name="elsewhere")
            train(recipe, registry(), self.folder, device=CPU)


@pytest.mark.parametrize("trains", [True, False], ids=["trained there", "stopped there"])
def test_what_another_process_trains_is_waited_for(trains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "classifier.toml"
    path.write_text(toml.dumps(CLASSIFIER))
    first = {"networks": {"classifier": {"use": "standard/small-cnn", "trained_by": str(path)}}}
    other = Other(trains=trains)
    monkeypatch.setattr(prerequisites.time, "sleep", other.ends)
    recipe = check_table(merge(GAME, merge(BALANCE, first)), registry(), name="test")
    run = train(recipe, registry(), tmp_path / "run", device=CPU, progress=other)
    assert run.iteration == recipe.run.iterations
    assert other.folder is not None
    assert (other.folder / "weights" / "classifier.safetensors").is_file()
    waits = [text for text in other.said if "waiting until it is trained there" in text]
    assert len(waits) == 1
    assert f"{other.folder} is in use by process" in waits[0]
