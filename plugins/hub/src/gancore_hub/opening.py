"""`datasets`, imported when a set is opened, and kept off the network unless the network is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gancore import GancoreError

OLDEST = 4
"""Major version before which a set could bring code of its own, which was run."""

INSTALL = 'pip install "gancore-plugin-hub[datasets]"'

_SAVED = ("dataset_dict.json", "state.json")
"""What `save_to_disk` leaves in the folder of a set with splits, and of one without."""


def library() -> Any:
    """Return the module ``datasets``.

    Raises:
        GancoreError: It is not installed, can't be imported, or is of a version that runs code of the sets it reads.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise GancoreError(
            f"The library datasets can't be imported ({str(error)[:100]}); install it with: {INSTALL}."
        ) from error
    version = getattr(datasets, "__version__", "")
    if not (version.split(".")[0].isdecimal() and int(version.split(".")[0]) >= OLDEST):
        raise GancoreError(
            f"datasets is of version {version[:20] or 'unknown'}, not {OLDEST} or later; install it with: {INSTALL}."
        )
    return datasets


def opened(name: str, config: str | None, revision: str | None, split: str, *, download: bool) -> Any:
    """Return a split as an object of ``datasets``, of whose images none is read.

    Args:
        name: A folder, else a name on the Hub.
        config: The set's configuration, where it has several.
        revision: Commit, tag or branch on the Hub.
        split: Name of the split; of what `load_dataset` reads also a slice of one, such as ``train[:90%]``.
        download: Whether the network may be asked.

    Raises:
        Exception: What ``datasets`` raises.
        GancoreError: A saved set has no such split.
    """
    datasets = library()
    folder = Path(name).expanduser()
    with _network(datasets, allowed=download):
        if any((folder / one).is_file() for one in _SAVED):
            saved = datasets.load_from_disk(str(folder.resolve()), keep_in_memory=False)
            splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
            if split not in splits:
                raise GancoreError(f"it has no split {split!r}, but {', '.join(map(repr, splits))}"[:200])
            return splits[split]
        where = str(folder.resolve()) if folder.is_dir() else name
        if folder.is_dir() and not download:
            _check_local(folder)
        return datasets.load_dataset(where, config, split=split, revision=revision, keep_in_memory=False)


def _check_local(folder: Path) -> None:
    """Refuse a folder whose card says that its files lie elsewhere, for those are asked for whatever is set."""
    stated, card, plain = list[Any](), folder / "README.md", folder / ".huggingface.yaml"
    if card.is_file():
        stated.append(importlib.import_module("huggingface_hub").DatasetCard.load(card).data.to_dict().get("configs"))
    if plain.is_file():
        stated.append(importlib.import_module("yaml").safe_load(plain.read_text(encoding="utf-8")))
    if "://" in str(stated):
        raise GancoreError("its card names files on the network")


@contextmanager
def _network(datasets: Any, *, allowed: bool) -> Iterator[None]:
    """Have the libraries ask nothing of the network, unless it is allowed."""
    # HF_HUB_OFFLINE is read from the environment once, at their import, into these; they look there before each request.
    modules: tuple[Any, ...] = () if allowed else (datasets.config, importlib.import_module("huggingface_hub.constants"))
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value
