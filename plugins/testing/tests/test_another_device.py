"""The second device refuses what a GPU refuses, lets through what a GPU does, and computes what the CPU does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from gancore_testing import AnotherDevice, build_host, host_registry
from gancore_testing.checks import bitwise_difference, on_another_device, steps
from gancore_testing.hosting import GAME
from torch import Tensor, nn

import gancore
from gancore.tools import merge, noise_for


@pytest.fixture
def device() -> Iterator[torch.device]:
    with AnotherDevice() as device:
        yield device


REFUSED: dict[str, Callable[[Tensor], object]] = {
    "a constant of the CPU": lambda x: x * torch.tensor([1.0, 2.0, 3.0]),
    "the other way round": lambda x: torch.ones(3).add_(x),
    "a matrix of the CPU": lambda x: torch.eye(3) @ x,
    "a mask of the CPU": lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, 0.0),
    "a list of both": lambda x: torch.cat([x, torch.zeros(1)]),
    "a GPU's number beside the CPU's tensor": lambda x: torch.ones(3) * x.sum(),
    "a layer that stayed": lambda x: nn.Linear(3, 2)(x),
    "a target on the CPU": lambda x: nn.functional.cross_entropy(x[None], torch.tensor([1])),
    "a draw from the CPU's noise": lambda x: torch.randn(3, generator=torch.Generator(), device=x.device),
    "a permutation of the CPU's noise": lambda x: torch.randperm(3, generator=noise_for("cpu", 0), device=x.device),
    "a draw in place of the CPU's noise": lambda x: torch.empty_like(x).normal_(generator=torch.Generator()),
    "a draw for the CPU of the GPU's noise": lambda x: torch.rand(3, generator=noise_for(x.device, 0)),
    "NumPy": lambda x: x.numpy(),
    "NumPy, by its own function": lambda x: __import__("numpy").asarray(x),
    "a copy that was brought back": lambda x: x + x.cpu(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_refused(name: str, device: torch.device) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"cuda:0"):
        REFUSED[name](torch.arange(3.0, device=device))


ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a number of the CPU": lambda x: x * torch.tensor(2.0),
    "a constant made there": lambda x: x * torch.tensor([1.0, 2.0, 3.0], device=x.device),
    "a constant like it": lambda x: x + torch.ones_like(x) + x.new_zeros(3),
    "a constant that was moved": lambda x: x + torch.ones(3).to(x) + torch.ones(3).to(x.device, torch.float64).float(),
    "indices of the CPU": lambda x: x[torch.tensor([0, 2])],
    "a copy into it": lambda x: torch.empty_like(x).copy_(torch.ones(3)),
    "a layer that was moved": lambda x: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(x.device)(x.expand(4, 3)),
    "what torch makes for itself": lambda x: nn.functional.one_hot(x.long()).float() + nn.functional.dropout(x).sum(),
    "a draw of its own noise": lambda x: x + torch.randn(3, generator=noise_for(x.device, 0), device=x.device),
    "a view of a part": lambda x: x[None].expand(2, 3).reshape(-1)[2:].clone(),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_gpu_does_is_done_there(name: str, device: torch.device) -> None:
    result = ALLOWED[name](torch.arange(3.0, device=device))
    assert result.device == device
    assert result.is_cuda
    assert result.cpu().device.type == "cpu"


def test_a_gradient_goes_back_to_where_its_tensor_lies(device: torch.device) -> None:
    leaf = torch.ones(3, requires_grad=True)
    (leaf.to(device) * torch.arange(3.0, device=device)).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.device.type == "cpu"
    assert leaf.grad.tolist() == [0, 1, 2]


def test_what_is_kept_stays_there_from_one_device_to_the_next() -> None:
    with AnotherDevice() as device:
        kernel = torch.ones(3, device=device)
    with AnotherDevice():
        assert (kernel + torch.zeros(3, device=device)).device == device
    assert kernel.device.type == "cpu"


def test_a_run_computes_there_what_it_computes_on_the_cpu() -> None:
    with AnotherDevice() as device:
        there = steps(build_host(GAME, host_registry(), device), 2)
        assert {tensor.device for tensor in there.losses.values()} == {device}
    assert not bitwise_difference(steps(build_host(GAME, host_registry()), 2), there)


class Target(gancore.LossTerm):
    """A loss term with the commonest fault."""

    def __init__(self) -> None:
        super().__init__()
        self.target = torch.tensor([0.9])

    def discriminator(self, *, real_classes: Tensor) -> Tensor:
        return (real_classes - self.target).square().mean()


class Registered(Target):
    """The same without it."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("target", torch.tensor([0.9]))


@pytest.mark.parametrize(("cls", "problem"), [(Target, "aten::sub.* takes tensors of cuda:0 and of cpu"), (Registered, None)])
def test_the_suite_finds_a_loss_that_computes_on_the_cpu(
    cls: type, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gancore_testing.components.LeastSquares", cls)
    table = merge(GAME, {"losses": {"target": {"use": "host/head-loss"}}})
    if problem is None:
        on_another_device(table, host_registry())
        return
    with pytest.raises(RuntimeError, match=problem):
        on_another_device(table, host_registry())
