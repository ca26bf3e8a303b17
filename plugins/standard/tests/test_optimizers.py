"""The optimizer that finds its tensors once takes torch's own steps, to the last bit, whatever happens between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from gancore_standard.optimizers import FusedAdam, adam
from torch import nn


def parameters() -> list[nn.Parameter]:
    """The same three parameters every time, one of them without a dimension."""
    noise = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=noise)) for shape in ((5, 3), (7,), ())]


def trained(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], between: Callable[[torch.optim.Optimizer, int], None]
) -> list[torch.Tensor]:
    """The parameters after eight steps, with something done before each, and the optimizer's own tensors."""
    own = parameters()
    optimizer = make(own)
    noise = torch.Generator().manual_seed(4)
    for number in range(8):
        for parameter in own:
            parameter.grad = torch.randn(parameter.shape, generator=noise)
        between(optimizer, number)
        optimizer.step()
    return [tensor.detach() for p in own for tensor in (p, *optimizer.state[p].values())]


def check(between: Callable[[torch.optim.Optimizer, int], None]) -> None:
    """Compare with torch's own."""
    settings = {"lr": 3e-3, "betas": (0.5, 0.99), "eps": 1e-6, "weight_decay": 0.01}
    ours = trained(lambda p: adam(p, **settings), between)  # type: ignore[arg-type]
    torchs = trained(lambda p: torch.optim.Adam(p, fused=True, **settings), between)  # type: ignore[arg-type]
    assert all(map(torch.equal, ours, torchs))


def test_steps_are_those_of_torch() -> None:
    check(lambda *_: None)


def test_numbers_that_schedules_change_are_read_in_each_step() -> None:
    def change(optimizer: torch.optim.Optimizer, number: int) -> None:
        group = optimizer.param_groups[0]
        group["betas"] = (0.5 - number / 100, 0.99)
        group["lr"] = torch.tensor(3e-3 / (1 + number), dtype=torch.float64) if number > 4 else 3e-3 / (1 + number)

    check(change)


def test_a_parameter_may_have_no_gradient_in_a_step() -> None:
    def drop(optimizer: torch.optim.Optimizer, number: int) -> None:
        if number in (0, 3, 4):
            optimizer.param_groups[0]["params"][number % 3].grad = None

    check(drop)


def test_a_state_that_is_put_back_is_the_one_that_changes() -> None:
    def put_back(optimizer: torch.optim.Optimizer, number: int) -> None:
        if number == 2:
            saved = optimizer.state_dict()
            copies = {key: {name: value.clone() for name, value in one.items()} for key, one in saved["state"].items()}
            optimizer.load_state_dict({**saved, "state": copies})
        if number == 5:  # as after an iteration that is taken back
            del optimizer.state[optimizer.param_groups[0]["params"][1]]

    check(put_back)


def test_a_second_group_is_stepped_too() -> None:
    def add(optimizer: torch.optim.Optimizer, number: int) -> None:
        if number == 3:
            more = nn.Parameter(torch.ones(2))
            optimizer.add_param_group({"params": [more], "lr": 0.1})
        for parameter in [p for group in optimizer.param_groups[1:] for p in group["params"]]:
            parameter.grad = torch.full((2,), 0.5)

    check(add)


def test_a_hook_is_called_whenever_it_was_registered() -> None:
    calls: list[str] = []
    own = parameters()
    optimizer = adam(own)
    for _ in range(3):
        for parameter in own:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.step()
    assert calls == ["before", "after"]


def test_tensors_are_looked_up_once() -> None:
    own = parameters()
    optimizer = FusedAdam(own)
    looked: list[int] = []
    ordinary = optimizer._ordinary_step

    def counted(closure: Callable[[], float] | None) -> object:
        looked.append(1)
        return ordinary(closure)

    optimizer._ordinary_step = counted  # type: ignore[method-assign]
    for _ in range(5):
        for parameter in own:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert len(looked) == 1
