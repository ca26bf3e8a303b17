"""Attacks of other libraries (foolbox, torchattacks, AutoAttack), in evaluation, where they are installed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

import gancore
from gancore_fastrobgan.attacks import Epsilon, Norm, check_budget, project

Package = Literal["foolbox", "torchattacks", "autoattack"]
VERSIONS = ("standard", "plus", "rand")
"""AutoAttack's."""


class External(gancore.Attack):
    """An attack of another library, on images in [-1, 1].

    Args:
        package: ``"foolbox"``, ``"torchattacks"`` or ``"autoattack"``; it must be installed.
        name: The attack's class (foolbox's ``LinfPGD``, torchattacks' ``PGD``), or AutoAttack's version: ``standard``, ``plus``
            or ``rand``. Where a class has no budget of its own (``CW``), its result is cut to the ball.
        options: Further arguments of the class; whole numbers are handed on as such.
        epsilon: Radius of the ball, on the [-1, 1] scale, in [0, 2], or of pixels: ``"8/255"``; libraries that work on
            [0, 1] get half of it.
        norm: Of the ball, for AutoAttack and for what is cut; elsewhere the class says it.

    Raises:
        GancoreError: The library is not installed, has no such attack, or refuses the options.
    """

    gradient: ClassVar[str] = "logits"

    def __init__(
        self,
        *,
        package: Package = "foolbox",
        name: str = "LinfPGD",
        options: dict[str, float] | None = None,
        epsilon: Epsilon = 0.03125,
        norm: Norm = "linf",
    ) -> None:
        super().__init__()
        epsilon = check_budget(epsilon, norm, "the attack")
        self.package: Package = package
        self.name = name
        self.options = {k: int(v) if float(v).is_integer() else v for k, v in (options or {}).items()}
        self.epsilon = epsilon
        self.norm: Norm = norm
        module = _imported(package)
        known = VERSIONS if package == "autoattack" else dir(module.attacks if package == "foolbox" else module)
        if name not in known:
            raise gancore.GancoreError(f"{package} has no attack {name!r}; see its documentation for the names.")

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return what the library makes of images (N, C, H, W) in [-1, 1]; torch's own generator is seeded from `noise`."""
        seed = int(torch.randint(0, 2**31, (), generator=noise, device=noise.device))
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(seed)
            try:
                fooled: Tensor = getattr(self, f"_{self.package}")(x, label, classify, seed)
            except (TypeError, ValueError, AssertionError, IndexError) as error:
                detail = " ".join(str(error).split())[:200]
                raise gancore.GancoreError(
                    f"{self.package}'s {self.name} refuses its options or the classifier: {detail}."
                ) from error
        return fooled.detach()

    def _foolbox(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], seed: int) -> Tensor:
        library = _imported("foolbox")
        model = library.PyTorchModel(_Module(classify), bounds=(-1, 1), device=x.device)
        _, clipped, _ = getattr(library.attacks, self.name)(**self.options)(model, x, label, epsilons=self.epsilon)
        return clipped  # type: ignore[no-any-return]

    def _torchattacks(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], seed: int) -> Tensor:
        cls = getattr(_imported("torchattacks"), self.name)
        budget = {"eps": self.epsilon / 2} if "eps" in inspect.signature(cls).parameters else {}
        unit = (x + 1) / 2
        attack = cls(_Module(lambda images: classify(images * 2 - 1)).to(x.device), **budget, **self.options)
        attack.set_device(x.device)
        fooled: Tensor = attack(unit.clamp(0, 1), label) * 2 - 1
        return fooled if budget else (x + project(fooled - x, self.epsilon, self.norm)).clamp(-1, 1)

    def _autoattack(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], seed: int) -> Tensor:
        cls = _imported("autoattack").AutoAttack
        norm = "Linf" if self.norm == "linf" else "L2"
        model = _Module(lambda images: classify(images * 2 - 1))
        fixed = {"norm": norm, "eps": self.epsilon / 2, "version": self.name, "device": str(x.device), "verbose": False}
        attack = cls(model, **fixed, seed=seed, **self.options)
        unit = ((x + 1) / 2).clamp(0, 1)
        return attack.run_standard_evaluation(unit, label, bs=len(x)) * 2 - 1  # type: ignore[no-any-return]


class _Module(nn.Module):
    """A function as the module in evaluation mode that the libraries ask for."""

    def __init__(self, classify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.classify = classify
        # torchattacks looks for the device of a parameter.
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(x)


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise gancore.GancoreError(f"the package {package} can't be imported ({error}); pip install {package}.") from error
