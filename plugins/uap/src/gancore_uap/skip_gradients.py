"""The Skip Gradient Method (Wu et al. 2020, arXiv:2002.05990): gradients that prefer the shortcuts of residual networks.

Perturbations transfer better to other networks when their gradients come rather through the shortcuts. So in every residual
block ``y = x + f(x)`` the gradient through the branch f is multiplied by gamma; what came through k branches counts gamma^k.
CBGAN (OpenReview:yEnaS6yOkxy, section 4.3) crafts on ResNets with gamma 0.5.

The method's public code scales the gradients of ReLUs instead. That agrees with the above up to one positive factor of the
whole gradient, except that block 0 of each stage is left alone: its ReLU's name is that of none to be scaled. So is it here,
by default. (By the same test of names the public code also leaves out blocks 10 and 20 of a stage, an accident that isn't
repeated.)
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

import gancore

_RESIDUAL = re.compile(r"basicblock|bottleneck|resblock|residual|preact|^_*block$")
"""Class names, in lower case, of blocks with a shortcut. A module with two norms alone may well have none (a "ConvBlock")."""

_NORM = re.compile(r"bn(\d+)")


@contextlib.contextmanager
def scaled_residuals(networks: Iterable[nn.Module], gamma: float, *, skip_first_block: bool = True) -> Iterator[int]:
    """Scale the gradient through the branch of residual blocks by gamma, in forward passes that run while this is open.

    Outputs, weights and statistics stay the same bit for bit; gradients of the branches' weights are scaled too. The backward
    pass of such a forward pass is scaled even after closing, that of an earlier one never is.

    A residual block is a module with ``conv1``, ``bn1`` and ``bn2`` or more whose class, or a base of it, is named as one
    (``BasicBlock``, ``Bottleneck``, ``PreActBlock``, ``ResidualBlock``, ``_Block``, ...), and that holds no further such
    block. All of its branch must pass through the ``bn`` of the highest number, wherever that stands. torchvision's ResNets,
    ResNeXts and wide ResNets have such blocks, and so have gancore's of CIFAR style; its VGGs, DenseNets, EfficientNets,
    RegNets and transformers have none.

    Args:
        networks: The networks, with whatever stands around their blocks; one that is given twice counts once.
        gamma: Factor in (0, 1]; 1 changes nothing.
        skip_first_block: Leave alone the first block of each stage, which is a `torch.nn.Sequential` or
            `torch.nn.ModuleList` all of whose children are blocks.

    Yields:
        How many blocks are scaled: 0 where gamma is 1, or no network has such blocks.

    Raises:
        gancore.GancoreError: `gamma` is not in (0, 1].
    """
    if not 0 < gamma <= 1:
        raise gancore.GancoreError(
            f"the Skip Gradient Method's gamma must be above 0 and at most 1, not {gamma!r}; choose e.g. 0.5, or 1 to change "
            "no gradient."
        )
    # A block that two networks share must not be scaled twice.
    ends: dict[nn.Module, None] = {}
    if gamma < 1:
        ends = {_branch_end(block): None for network in networks for block in _blocks(network, skip_first_block)}

    def scale(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        # A hook of the tensor, not of the module's backward pass: those make views, which the block's in-place sum can't take.
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: gradient * gamma)

    with contextlib.ExitStack() as hooks:
        for end in ends:
            hooks.callback(end.register_forward_hook(scale).remove)
        yield len(ends)


def _blocks(network: nn.Module, skip_first_block: bool) -> list[nn.Module]:
    """Return the residual blocks of a network, in order."""
    likely = {module: None for module in network.modules() if _looks_residual(module)}
    # Of two that lie in each other, the outer one is a network that looks like a block.
    blocks = {block: None for block in likely if not any(inner in likely for inner in block.modules() if inner is not block)}
    exempt = set()
    if skip_first_block:
        lists = (module for module in network.modules() if isinstance(module, nn.Sequential | nn.ModuleList))
        exempt = {stage[0] for stage in lists if len(stage) and all(child in blocks for child in stage)}
    return [block for block in blocks if block not in exempt]


def _looks_residual(module: nn.Module) -> bool:
    norms = _norms(module)
    if not {1, 2} <= norms.keys() or not isinstance(getattr(module, "conv1", None), nn.Module):
        return False
    return any(_RESIDUAL.search(cls.__name__.lower()) for cls in type(module).__mro__)


def _norms(module: nn.Module) -> dict[int, nn.Module]:
    """Return the children ``bn1``, ``bn2``, ... by number."""
    matches = ((_NORM.fullmatch(name), child) for name, child in module.named_children())
    return {int(match[1]): child for match, child in matches if match}


def _branch_end(block: nn.Module) -> nn.Module:
    norms = _norms(block)
    return norms[max(norms)]
