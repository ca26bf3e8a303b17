"""What is asked of metrics: that they score, leave the run alone, and do not depend on how images come to them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from gancore import Metric
from gancore.tools import Registry, Run, evaluating, load_split, parameters_of, read_tensors, to_unit, write_tensors
from gancore_testing.checks import steps, tensors_of
from gancore_testing.hosting import LABEL, Table, build_host

if TYPE_CHECKING:
    from gancore_training import Evaluator

TOLERANCE = 1e-4
"""How far scores of the same images may come apart, in units of their own, when the images come in other batches."""

Images = dict[str, Tensor]
"""What a metric may ask for, by name, a row for each image."""


def evaluator_of(run: Run) -> Evaluator:
    """Return what scores a run; imported when it is asked for, for core's own tests use the suite and need no plugin."""
    from gancore_training import Evaluator

    return Evaluator(run)


def scored(table: Table, registry: Registry) -> None:
    """A run is scored twice alike, with numbers and directions that are such, and left as it was."""
    run = steps(build_host(table, registry), 1)
    before, random = _state(run), torch.get_rng_state()
    evaluator = evaluator_of(run)
    first, second = evaluator(), evaluator()
    changed = [name for name, value in _state(run).items() if not torch.equal(value, before[name])]
    assert not changed, f"scoring changes {changed}"
    assert torch.equal(random, torch.get_rng_state()), "scoring draws from torch's own random stream"
    assert first.values, "compute gives no score"
    for name, value in first.values.items():
        numbers = value if isinstance(value, Sequence) else [value]
        assert all(isinstance(number, int | float) and math.isfinite(number) for number in numbers), f"{name} is {value!r}"
    assert first.values == second.values, f"scored again, {first.values} became {second.values}: reset forgets too little"
    assert first.protocols == second.protocols, "scored again, its protocol is another"
    unknown = not first.better.keys() & first.values.keys()
    assert not (first.better and unknown), f"better names {sorted(first.better)}, and it computes {sorted(first.values)}"
    assert set(first.better.values()) <= {"lower", "higher"}, f"better must be lower or higher, not {first.better}"


def _state(run: Run) -> Images:
    modules = {**run.modules(), **{f"network.{name}": network for name, network in run.networks.items()}}
    state = {name: value.detach().clone() for name, value in tensors_of(run).items()}
    for name, module in modules.items():
        state |= {f"{name}.{key}": value.detach().clone() for key, value in module.state_dict().items()}
        state |= {f"the mode of {name}.{key}": torch.tensor(each.training) for key, each in module.named_modules()}
        gradients = {key: value.grad for key, value in module.named_parameters() if value.grad is not None}
        state |= {f"the gradient of {name}.{key}": gradient.clone() for key, gradient in gradients.items()}
    return state


def any_batches(table: Table, registry: Registry) -> None:
    """Scores do not depend on the batches in which images come, and not on what came before a reset."""
    run, real, fake = _seen(table, registry)
    whole = _filled(run, real, fake, len(fake["labels"]))
    split = _filled(run, real, fake, 5)
    one, two = whole.compute(), split.compute()
    assert not _apart(one, two), f"in other batches, {', '.join(_apart(one, two))}"
    whole.reset()
    _feed(whole, "update", fake, 5)
    three = whole.compute()
    assert not _apart(one, three), f"after reset, {', '.join(_apart(one, three))}"


def keeps_real_state(table: Table, registry: Registry) -> None:
    """What a metric has taken in of real images goes through a file, and scores stay the same to the last bit."""
    run, real, fake = _seen(table, registry)
    first, second = _filled(run, real, {}, 8), _metric(run)
    if not (hasattr(first, "real_state") and hasattr(second, "load_real_state")):
        pytest.skip("it keeps no real statistics, so its real images are read anew in every process")
    with tempfile.TemporaryDirectory() as folder:
        write_tensors(Path(folder) / "state.safetensors", first.real_state(), {})
        second.load_real_state(read_tensors(Path(folder) / "state.safetensors")[0])
    for metric in (first, second):
        metric.reset()
        _feed(metric, "update", fake, 8)
    one, two = first.compute(), second.compute()
    assert one == two, f"with its real statistics from a file, {one} became {two}"


def _apart(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    assert one.keys() == two.keys(), f"it computes {sorted(one)} and then {sorted(two)}"
    return [f"{name} becomes {two[name]} instead of {one[name]}" for name in one if not _close(one[name], two[name])]


def _close(one: Any, two: Any) -> bool:
    a, b = torch.tensor(one).double(), torch.tensor(two).double()
    return a.shape == b.shape and bool(((a - b).abs() <= TOLERANCE * a.abs().clamp(min=1)).all())


def _metric(run: Run) -> Any:
    planned = run.plan.metrics[LABEL]
    metric: Metric = planned.build(run.parts.context(planned.cls))
    return metric


def _seen(table: Table, registry: Registry) -> tuple[Run, Images, Images]:
    """Return a run, and real and generated images as metrics see them."""
    run = steps(build_host(table, registry), 1)
    metric = _metric(run)
    if not hasattr(metric, "update"):
        pytest.skip("it scores the run itself, or real images alone")
    pixels, labels = load_split(run.plan.dataset, "test")
    number = run.recipe.evaluation.samples
    latents = run.latent(number, "conformance")
    real, fake = (to_unit(pixels[:]), labels), (run.generate(latents), latents.label)
    return run, _of(run, metric, *real), _of(run, metric, *fake)


def _of(run: Run, metric: Metric, images: Tensor, labels: Tensor) -> Images:
    if metric.network is None:
        return {"images": images, "labels": labels}
    network = run.networks[metric.network]
    with evaluating(network):
        features = network.embed(images)
        return {"images": images, "labels": labels, "features": features, "logits": network.classify(features)}


def _filled(run: Run, real: Images, fake: Images, size: int) -> Any:
    """Return a metric that has seen images in batches of a size."""
    metric = _metric(run)
    if hasattr(metric, "update_real"):
        _feed(metric, "update_real", real, size)
    metric.reset()
    if fake:
        _feed(metric, "update", fake, size)
    return metric


def _feed(metric: Any, method: str, seen: Images, size: int) -> None:
    update, number, start = getattr(metric, method), len(seen["labels"]), 0
    names = [name for name in parameters_of(update) if name in seen]
    while start < number:
        stop = start + size
        update(**{name: seen[name][start:stop] for name in names})
        start = stop
