"""torchvision imports, whatever build of torch it stands beside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gancore_standard.torchvision_import import torchvision

from gancore import GancoreError

# A stand-in for torchvision's package, as its registration behaves beside a torch that its extension does not fit.
BROKEN = """
from torch import library as operators
from torchvision import helper
operators.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
operators.register_fake("torchvision::qnms")(lambda dets, scores, iou_threshold: dets)
"""
WHOLE = "from torchvision import helper"
HELPER = "import builtins; builtins.executed = getattr(builtins, 'executed', 0) + 1"


def run_beside(package: str, folder: Path, script: str) -> str:
    """Run a script in a process of its own in which `package` is torchvision."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(package)
    (folder / "torchvision" / "helper.py").write_text(HELPER)
    paths = os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make as if torchvision had not been asked for yet; what was imported comes back afterwards."""
    torchvision.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    torchvision.cache_clear()


def test_torchvision_resizes_an_image_here() -> None:
    resize = torchvision().transforms.Resize(4)
    assert resize(torch.zeros(3, 8, 8)).shape == (3, 4, 4)


def test_missing_operators_are_declared_and_half_imported_modules_are_executed_again(tmp_path: Path) -> None:
    script = """
import builtins, sys, torch
import gancore_standard.torchvision_import
assert "torchvision" not in sys.modules
module = gancore_standard.torchvision_import.torchvision()
assert sys.modules["torchvision"] is module and gancore_standard.torchvision_import.torchvision() is module
print(builtins.executed, torch.ops.torchvision.nms.default, torch.ops.torchvision.qnms.default)
"""
    assert run_beside(BROKEN, tmp_path, script) == "2 torchvision.nms.default torchvision.qnms.default"


def test_the_plain_import_of_the_stand_in_fails_as_torchvision_does(tmp_path: Path) -> None:
    script = """
try:
    import torchvision
except RuntimeError as error:
    print(error)
"""
    assert run_beside(BROKEN, tmp_path, script) == "operator torchvision::nms does not exist"


def test_nothing_is_declared_where_the_import_works(tmp_path: Path) -> None:
    script = """
import builtins, torch
import gancore_standard.torchvision_import
gancore_standard.torchvision_import.torchvision()
print(builtins.executed, hasattr(torch.ops.torchvision, "nms"))
"""
    assert run_beside(WHOLE, tmp_path, script) == "1 False"


@pytest.mark.usefixtures("forgotten")
def test_a_torchvision_that_is_not_installed_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(GancoreError, match=r"torchvision is not installed; install it with: pip install"):
        torchvision()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("line", ["import no_such_module_of_torchvision", "raise RuntimeError('something else')"])
def test_any_other_failure_names_its_cause_and_the_version_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    (tmp_path / "torchvision.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GancoreError, match=rf"beside torch {torch.__version__.split('+')[0]}.*(no_such_module|something else)"):
        torchvision()
