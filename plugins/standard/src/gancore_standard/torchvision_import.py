"""torchvision, also beside a build of torch that its compiled operators do not fit.

A CPU build of torch beside torchvision's default wheel fails at ``import torchvision`` ("operator torchvision::nms does not
exist", pytorch/vision#9085): torchvision registers shape functions for operators that only its compiled extension declares.
The image sets, transforms and models that gancore uses need none of them, so their names are declared here, without an
implementation, and the import is repeated.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import library as operators

from gancore import GancoreError

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Operators for which torchvision registers a shape function without looking whether they exist (0.21 to 0.28)."""

_declared: list[operators.Library] = []
"""Declarations live as long as the object that made them, so it is kept."""


@cache
def torchvision() -> ModuleType:
    """Return the module ``torchvision``, imported when first asked for.

    Raises:
        GancoreError: torchvision is not installed, or does not fit the installed torch in another way.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise _misfit(error) from error
        raise GancoreError('torchvision is not installed; install it with: pip install "torchvision>=0.21".') from error
    except (RuntimeError, ImportError, AttributeError) as error:
        if "operator torchvision::" not in str(error):
            raise _misfit(error) from error
    _forget_half_imported()
    _declare_missing_operators()
    try:
        return importlib.import_module("torchvision")
    except Exception as error:
        _forget_half_imported()
        raise _misfit(error) from error


def _declare_missing_operators() -> None:
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return
    declaration: Any = operators.Library("torchvision", "FRAGMENT")
    for name in missing:
        declaration.define(name + _SCHEMAS[name])
    _declared.append(declaration)


def _forget_half_imported() -> None:
    # A failed import leaves the submodules that did import behind, and they would not be executed again.
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]


def _misfit(error: BaseException) -> GancoreError:
    return GancoreError(
        f"torchvision can't be imported beside torch {torch.__version__} ({type(error).__name__}: {error}); "
        "install the version of torchvision that belongs to this torch."
    )
