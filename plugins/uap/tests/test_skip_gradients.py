"""The Skip Gradient Method: the public code's gradients, and those of a forward pass that is written for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any

import pytest
import torch
from gancore_standard.networks.cifar_resnet import ResNet20
from gancore_standard.torchvision_import import torchvision
from gancore_uap.skip_gradients import scaled_residuals
from gancore_uap.torchvision_victims import TorchvisionClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError
from tests.formulas import fill_formula

Load = Callable[[str], dict[str, Any]]


class BasicBlock(nn.Module):
    def __init__(self, *convolutions: nn.Conv2d) -> None:
        super().__init__()
        for number, convolution in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(convolution.out_channels))
        self.length = len(convolutions)

    def branch(self, x: Tensor) -> Tensor:
        for number in range(1, self.length + 1):
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(F.relu(x) if number > 1 else x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        out += x
        return F.relu(out, inplace=True)


class Toy(nn.Module):
    """The small networks of the parity vectors: stages of 3 and 2 blocks, of 6 maps each."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.layer1 = nn.Sequential(*(self.block(kind) for _ in range(3)))
        self.layer2 = nn.Sequential(*(self.block(kind) for _ in range(2)))
        self.fc = nn.Linear(6, 4)

    @staticmethod
    def block(kind: str) -> BasicBlock:
        sizes = ((6, 6, 3), (6, 6, 3)) if kind == "basic" else ((6, 3, 1), (3, 3, 3), (3, 6, 1))
        return BasicBlock(*(nn.Conv2d(a, b, size, padding=size // 2, bias=False) for a, b, size in sizes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layer2(self.layer1(F.relu(self.conv1(x)))).mean((2, 3)))
        return logits


def gradient(network: nn.Module, x: Tensor, y: Tensor, gamma: float = 1.0, **keys: bool) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    with scaled_residuals([network], gamma, **keys):
        logits = network(leaf)
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), leaf)
    return grad, logits.detach()


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@pytest.mark.parametrize("gamma", [0.5, 0.2])
def test_gradients_are_the_public_codes(parity: Load, kind: str, gamma: float) -> None:
    vectors = parity("sgm")
    network = Toy(kind).double().eval()
    names = [str(entry).split()[0] for entry in vectors[f"{kind}_names"]]
    assert [name for name in network.state_dict() if "num_batches" not in name] == names
    fill_formula(network)
    x, y = torch.as_tensor(vectors["x"]), torch.as_tensor(vectors["y"])

    plain, clean = gradient(network, x, y)
    torch.testing.assert_close(plain, torch.as_tensor(vectors[f"{kind}_plain_grad"]), rtol=1e-9, atol=1e-14)
    scaled, logits = gradient(network, x, y, gamma)
    expected = torch.as_tensor(vectors[f"{kind}_g{gamma}_clean_skipfirst_grad"])
    torch.testing.assert_close(scaled, expected, rtol=1e-9, atol=1e-14)
    assert torch.equal(logits, clean)
    everywhere, _ = gradient(network, x, y, gamma, skip_first_block=False)
    expected = torch.as_tensor(vectors[f"{kind}_g{gamma}_clean_all_grad"])
    torch.testing.assert_close(everywhere, expected, rtol=1e-9, atol=1e-14)

    public = torch.as_tensor(vectors[f"{kind}_g{gamma}_orig_grad"])
    assert F.cosine_similarity(scaled.flatten(), public.flatten(), dim=0).item() == pytest.approx(1, abs=1e-12)
    assert F.cosine_similarity(everywhere.flatten(), public.flatten(), dim=0).item() < 0.99999
    assert torch.equal(scaled.sign(), public.sign())


def mixed(out: Tensor, gamma: float) -> Tensor:
    """Return the same values, with gamma times the gradient."""
    return gamma * out + (1 - gamma) * out.detach()


def written_for_it(block: Any, gamma: float) -> Callable[[Any, Tensor], Tensor]:
    """Return a block's forward pass with the scaling in it, written anew."""

    def of_torchvision(self: Any, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            out = self.bn3(self.conv3(F.relu(out)))
        return F.relu((x if self.downsample is None else self.downsample(x)) + mixed(out, gamma))

    def of_gancore(self: Any, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(x + mixed(out, gamma))

    return of_torchvision if hasattr(block, "downsample") else of_gancore


def resnets() -> Iterator[tuple[str, Callable[[], nn.Module], int, int]]:
    yield "resnet18", lambda: torchvision().models.resnet18(num_classes=10), 4, 8
    yield "resnet50", lambda: torchvision().models.resnet50(num_classes=10), 12, 16
    yield "ResNet20", lambda: ResNet20(channels=3, classes=10), 6, 9


@pytest.mark.parametrize(("make", "fewer", "all_blocks"), [pytest.param(*rest, id=name) for name, *rest in resnets()])
@pytest.mark.parametrize("skip_first_block", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_real_networks(
    make: Callable[[], nn.Module], fewer: int, all_blocks: int, skip_first_block: bool, training: bool
) -> None:
    torch.manual_seed(0)
    network: Any = make().double().train(training)
    # With two images, the last stage's batch norm sees two values a map: its gradients are ill-conditioned.
    x, y = torch.randn(6, 3, 32, 32, dtype=torch.float64), torch.tensor([3, 7, 0, 1, 9, 2])
    state = {name: value.clone() for name, value in network.state_dict().items()}
    plain, clean = gradient(network, x, y)
    network.load_state_dict(state)
    scaled, logits = gradient(network, x, y, 0.3, skip_first_block=skip_first_block)
    assert torch.equal(logits, clean)
    assert not hooks(network)
    with scaled_residuals([network], 0.3, skip_first_block=skip_first_block) as number:
        assert number == (fewer if skip_first_block else all_blocks)
        assert hooks(network) == number
    assert not hooks(network)

    network.load_state_dict(state)
    for stage in (network.layer1, network.layer2, network.layer3, *([network.layer4] if hasattr(network, "layer4") else [])):
        for block in list(stage)[1 if skip_first_block else 0 :]:
            block.forward = MethodType(written_for_it(block, 0.3), block)
    expected, _ = gradient(network, x, y)
    torch.testing.assert_close(scaled, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert F.cosine_similarity(plain.flatten(), scaled.flatten(), dim=0) < 0.999


def test_it_reaches_the_networks_inside_a_wrapper() -> None:
    victim = TorchvisionClassifier(model="resnet18", classes=2, image_size=32, channels=3)
    with scaled_residuals([victim, nn.Sequential(victim)], 0.5) as number:
        assert number == 4  # a block that is met twice is scaled once
        assert hooks(victim) == 4


class PreActBlock(nn.Module):
    """A branch that begins with its norms, so that the last of them is not its end."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(maps), nn.Conv2d(maps, maps, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(maps), nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))), inplace=True))
        out += x
        return out


class ConvBlock(PreActBlock):
    """Named as no residual block, but one of its bases is."""


class DoubleConv(nn.Module):
    """Two norms, and no shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)


def test_blocks_of_users() -> None:
    stage = nn.Sequential(PreActBlock(4), ConvBlock(4)).double().eval()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)

    def scaled(module: nn.Module, **keys: bool) -> Tensor:
        with scaled_residuals([module], 0.25, **keys):
            (grad,) = torch.autograd.grad(module(x).square().sum(), x)
        return grad

    first, second = stage
    inner = first(x)
    out = inner + mixed(second(inner) - inner, 0.25)
    (expected,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(scaled(stage), expected)
    inner = x + mixed(first(x) - x, 0.25)
    out = inner + mixed(second(inner) - inner, 0.25)
    (expected,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(scaled(stage, skip_first_block=False), expected)


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda: nn.ModuleList([PreActBlock(4), PreActBlock(4), PreActBlock(4)]), 2),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), PreActBlock(4), PreActBlock(4)), 2),  # no stage: not all are blocks
        (lambda: PreActBlock(4), 1),
        (lambda: nn.Sequential(DoubleConv(), DoubleConv()), 0),
        (lambda: torchvision().models.vgg11(), 0),
        (lambda: torchvision().models.densenet121(), 0),
        (lambda: torchvision().models.wide_resnet50_2(), 12),
        (lambda: torchvision().models.resnet152(), 46),
    ],
)
def test_what_counts_as_a_block(make: Callable[[], nn.Module], number: int) -> None:
    with torch.device("meta"):
        network = make()
    with scaled_residuals([network], 0.5) as scaled:
        assert scaled == number


def test_a_gamma_of_one_registers_nothing() -> None:
    network = ResNet20(channels=3, classes=2)
    with scaled_residuals([network], 1.0) as number:
        assert number == 0
        assert not hooks(network)


@pytest.mark.parametrize("gamma", [0.0, -0.5, 1.01, float("nan"), float("inf")])
def test_other_gammas_are_refused(gamma: float) -> None:
    with pytest.raises(GancoreError, match=r"gamma must be above 0 and at most 1, not .*; choose"):
        scaled_residuals([], gamma).__enter__()


def test_an_error_leaves_no_hook() -> None:
    network = ResNet20(channels=3, classes=2)
    with pytest.raises(ZeroDivisionError), scaled_residuals([network], 0.5):
        raise ZeroDivisionError
    assert not hooks(network)


def test_what_ran_before_is_not_scaled_and_what_needs_no_gradient_runs() -> None:
    network = ResNet20(channels=3, classes=2).eval().requires_grad_(False)
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    plain, _ = gradient(network, x.detach(), torch.tensor([0]))
    loss = F.cross_entropy(network(x), torch.tensor([0]), reduction="sum")
    with scaled_residuals([network], 0.5), torch.no_grad():
        network(x)
    with scaled_residuals([network], 0.5):
        (grad,) = torch.autograd.grad(loss, x)
    assert torch.equal(grad, plain)


def test_several_networks_are_scaled_at_once() -> None:
    torch.manual_seed(0)
    networks: Sequence[nn.Module] = [ResNet20(channels=3, classes=2).eval() for _ in range(2)]
    x, y = torch.randn(1, 3, 8, 8), torch.tensor([1])
    alone = [gradient(network, x, y, 0.5)[0] for network in networks]
    leaf = x.clone().requires_grad_()
    with scaled_residuals(iter(networks), 0.5) as number:
        assert number == 12
        together = [torch.autograd.grad(F.cross_entropy(net(leaf), y, reduction="sum"), leaf)[0] for net in networks]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)
