"""Whether a folder can take a training, and what was done there before."""

from __future__ import annotations

import difflib

import gancore.training.checkpoint as checkpoint
from gancore.errors import GancoreError
from gancore.files import toml
from gancore.recipe import Recipe, identity
from gancore.training.run_folder import RunFolder


def check_folder(folder: RunFolder, recipe: Recipe, *, resume: bool) -> None:
    """Refuse a folder that holds something else than the run to go on with.

    Raises:
        GancoreError: It holds other files, a run that was not asked to be resumed, or one of another recipe.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise GancoreError(f"{folder.path} is a file; choose another --out.")
    if not folder.recipe.exists():
        if folder.path.exists() and any(folder.path.iterdir()):
            raise GancoreError(f"{folder.path} holds other files and no run; choose another --out.")
        return
    if not resume:
        raise GancoreError(f"{folder.path} already holds a run; go on with --resume, or choose another --out.")
    before, now = (toml.dumps(identity(table)) for table in (toml.read(folder.recipe), recipe.table))
    # What stopped before its first checkpoint, perhaps at a wrong setting, has nothing to lose.
    if before != now and checkpoint.checkpoints(folder.path):
        lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "in the run", "asked for", lineterm="", n=0)
        changed = "\n".join(line for line in lines if not line.startswith("@@"))
        raise GancoreError(
            f"{folder.path} was trained by another recipe, so it can't be resumed; the difference is:\n{changed}"
        )
