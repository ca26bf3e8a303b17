"""What is asked of a component by itself, beside what its host shows: what it gives, and that it gives the same again."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from gancore import GancoreError, Rows
from gancore.tools import CONTEXT, Registry, load_split, noise_for, settings_of
from gancore_testing.another_device import CPU, AnotherDevice
from gancore_testing.checks import steps, tensors_of
from gancore_testing.hosting import GAME, LABEL, Table, build_host, host_registry, plan_of

NUMBER: int = GAME["run"]["batch_size"]
STEPS = 4
SETTLED = 8
"""Iterations in which an accelerator tells what it does: some are looked at before others run in another way."""

OBSERVING = tuple(f"gancore_{what}" for what in ("run_started", "logged", "sampled", "evaluated", "checkpointed", "run_ended"))
"""The hooks of a training, in its order."""

VIEWS = ("bare", "substitute", "through")
"""What an attacker may see of a defense."""

TOLERANCE = 1e-3
"""How far an accelerated run may come away: by another order of sums."""


def documented(loaded: Any, target: str) -> None:
    """Each setting stands under ``Args:``."""
    text = "\n".join(cls.__doc__ or "" for cls in getattr(loaded, "__mro__", (loaded,)))
    missing = [name for name in settings_of(loaded) if name not in CONTEXT and f"{name}:" not in text]
    assert not missing, f"{target} does not document its settings {missing} under Args:"


# -- data --------------------------------------------------------------------------------------------------------------


def loads(table: Table, registry: Registry) -> None:
    """A data set gives what its `info` says, the same each time, in both splits; where its files are not here, skip."""
    one, two = (_dataset(table, registry) for _ in range(2))
    info = one.info
    number, what = (info.attributes, "attributes") if info.attributes else (info.classes, "classes")
    assert len(info.class_names) in (0, number), f"info names {len(info.class_names)} of {number} {what}"
    for split in ("train", "test"):
        images, labels = _there(one, split)
        again = two.load(split)
        same = torch.equal(labels, again[1]) and torch.equal(images[:NUMBER], again[0][:NUMBER])
        assert same, f"the {split} split is another each time that it is loaded"


def trains_on(table: Table, registry: Registry) -> None:
    """Three iterations run on a data set; where its files are not here, skip."""
    _there(_dataset(table, registry), "train")
    steps(build_host(table, registry), 3)


def _dataset(table: Table, registry: Registry) -> Any:
    """Return a data set that can tell what is known before an image is read."""
    with _missing_is_skipped():
        dataset = plan_of(table, registry).dataset
        assert dataset.info
    return dataset


@contextlib.contextmanager
def _missing_is_skipped() -> Iterator[None]:
    try:
        yield
    except GancoreError as error:
        pytest.skip(f"it is not here: {error}")


def _there(dataset: Any, split: str) -> tuple[Rows, Tensor]:
    """Return a split, held to what the data set says of it."""
    with _missing_is_skipped():
        loaded = dataset.load(split)
    known = type(type(dataset).__name__, (), {"info": dataset.info, "load": lambda _self, _split: loaded})
    return load_split(known(), split)


def selects(table: Table, registry: Registry) -> None:
    """A sampler chooses places that there are, the same for a seed, and weights that are frequencies."""
    run = build_host(table, registry)
    sampler, labels = run.samplers[LABEL], run.plan.dataset.load("train")[1]
    chosen = sampler.select(labels, 0)
    assert chosen.dtype == torch.int64, f"select gives {chosen.dtype}, not int64"
    assert chosen.ndim == 1, f"select gives the shape {tuple(chosen.shape)}, not one place after another"
    outside = [place for place in chosen.tolist() if not 0 <= place < len(labels)]
    assert not outside, f"select gives the places {outside} of {len(labels)}"
    assert torch.equal(chosen, sampler.select(labels, 0)), "select chooses others for the same seed"
    weights = sampler.weights(labels[chosen])
    if weights is not None:
        assert weights.shape == chosen.shape, f"weights gives the shape {tuple(weights.shape)} for {len(chosen)} labels"
        sound = bool(weights.isfinite().all()) and float(weights.min()) >= 0 and float(weights.sum()) > 0
        assert sound, "weights gives what is no frequency: below 0, not finite, or 0 for all"


def draws(table: Table, registry: Registry) -> None:
    """A latent draws z and labels of the right shapes, the same for the same noise, others for other noise, from it alone."""
    run = build_host(table, registry)
    assert run.prior is not None
    random = torch.get_rng_state()
    one, same, other = (run.prior.draw(NUMBER, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(random, torch.get_rng_state()), "it draws from torch's own random stream; draw from `noise` alone"
    width = run.recipe.run.latent_dim
    assert one.z.shape == (NUMBER, width), f"z has the shape {tuple(one.z.shape)}, not {(NUMBER, width)}"
    assert one.z.isfinite().all(), "z is not finite"
    assert set(one.codes) == set(run.prior.codes), f"it draws the codes {sorted(one.codes)}, not {sorted(run.prior.codes)}"
    if len(one.label):  # otherwise core draws them
        assert one.label.dtype == torch.int64, f"its labels are {one.label.dtype}, not int64"
        info = run.plan.info
        shape = (NUMBER, info.attributes) if info.attributes else (NUMBER,)
        assert one.label.shape == shape, f"its labels have the shape {tuple(one.label.shape)}, not {shape}"
        outside = [label for label in one.label.flatten().tolist() if not 0 <= label < (info.classes or 2)]
        assert not outside, f"it draws the labels {outside}, which there are not"
    pairs = [(one.z, same.z), (one.label, same.label), *((one.codes[name], same.codes[name]) for name in one.codes)]
    assert all(torch.equal(a, b) for a, b in pairs), "it draws others from the same noise"
    assert not torch.equal(one.z, other.z), "it draws the same from other noise"


# -- what the mathematics of a run is steered by -----------------------------------------------------------------------


def is_pure(table: Table, registry: Registry) -> None:
    """A schedule is a function of the iteration alone, with finite values."""
    factor = plan_of(table, registry).factors("optimizers.generator")["lr"]
    places = (0, 1, 2, 5, 9)
    forward = [factor(i) for i in places]
    backward = [factor(i) for i in reversed(places)]
    assert all(math.isfinite(value) for value in forward), f"at {places} it gives {forward}"
    assert forward == backward[::-1], f"asked in another order, it gives {backward[::-1]} instead of {forward}"


def fools(attack: Any, device: torch.device = CPU) -> None:
    """An attack on a classifier gives finite images of the same shape, the same for the same noise, and changes nothing."""
    classifier = build_host(GAME, host_registry(), device).networks["classifier"]
    images = torch.rand((NUMBER, 1, 8, 8), generator=noise_for(device, 0), device=device) * 2 - 1
    label, clean, start = torch.arange(NUMBER, device=device) % 4, images.clone(), copy.deepcopy(attack.state_dict())
    random = torch.get_rng_state()

    def fooled() -> Tensor:
        attack.load_state_dict(start)
        crafted: Tensor = attack.fool(images, label, classifier, noise_for(device, 0))
        return crafted.detach()

    one, two = fooled(), fooled()
    assert one.shape == clean.shape, f"fool gives the shape {tuple(one.shape)}, not {tuple(clean.shape)}"
    assert one.isfinite().all(), "fool gives what is not finite"
    assert torch.equal(one, two), "fool gives other images for the same noise"
    assert torch.equal(random, torch.get_rng_state()), "fool draws from torch's own random stream; draw from `noise` alone"
    assert torch.equal(images, clean), "fool changes the clean images in place"
    assert all(parameter.grad is None for parameter in classifier.parameters()), "fool leaves gradients in the classifier"


def defends(defense: Any, device: torch.device = CPU) -> None:
    """A defense gives images of the same shape and range, the same for the same noise, and what the attacker may see of it."""
    assert defense.sees in VIEWS, f"sees is {defense.sees!r}, not one of {', '.join(VIEWS)}"
    defense.eval().prepare(build_host(GAME, host_registry(), device))
    images = torch.rand((NUMBER, 1, 8, 8), generator=noise_for(device, 0), device=device) * 2 - 1
    clean, random = images.clone(), torch.get_rng_state()
    for name in ("defend", *(["substitute"] if defense.sees == "substitute" else [])):
        leaf = images.clone().requires_grad_()
        given, again = (getattr(defense, name)(leaf, noise_for(device, 0)) for _ in range(2))
        assert given.shape == clean.shape, f"{name} gives the shape {tuple(given.shape)}, not {tuple(clean.shape)}"
        assert given.isfinite().all(), f"{name} gives what is not finite"
        assert torch.equal(given, again), f"{name} gives other images for the same noise"
        assert torch.equal(leaf, clean), f"{name} changes the images in place"
        low, high = given.detach().aminmax()
        assert -1 - TOLERANCE <= low <= high <= 1 + TOLERANCE, (
            f"{name} gives values from {float(low):g} to {float(high):g}, not in [-1, 1]"
        )
        if name == "substitute" or defense.sees == "through":
            assert given.requires_grad, f"{name} passes no gradient, and the attacker sees {defense.sees!r}"
    assert torch.equal(random, torch.get_rng_state()), "it draws from torch's own random stream; draw from `noise` alone"


def on_another_device(check: Callable[[Any, torch.device], None], component: Any) -> None:
    """A component gives the same on a device that is not the CPU, with what is given to it there."""
    with AnotherDevice() as device:
        check(component.to(device), device)


def observes(hooks: Mapping[str, Any]) -> None:
    """Observers take what a training gives them, from its start to its end."""
    run = steps(build_host(GAME, host_registry()), 1)
    images = run.generate(run.latent(NUMBER, "samples")).cpu()
    with tempfile.TemporaryDirectory() as folder:
        run.folder = Path(folder)
        whole: dict[str, Any] = {"run": run, "iteration": 1, "values": {"generator/adversarial": 0.5}, "images": images}
        whole |= {"scores": {"fid/fid": 1.5, "classes/histogram": [1.0, 2.0]}, "path": run.folder / "00000001.safetensors"}
        for name in OBSERVING:
            if name in hooks:
                wanted = inspect.signature(hooks[name]).parameters
                hooks[name](**{key: value for key, value in whole.items() if key in wanted})


def accelerates(accelerator: Any) -> None:
    """An accelerated run computes what one without does, but for rounding, and its accelerator says what it is."""
    plain, fast = (build_host(GAME, host_registry()) for _ in range(2))
    told: list[str] = []
    with warnings.catch_warnings():
        # Compilers import much of torch that torch itself warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        step = accelerator(fast, fast.step, told.append)
        assert callable(step), f"it returns {step!r}, not a function that runs an iteration"
        for _ in range(SETTLED):
            step()
    steps(plain, SETTLED)
    assert told, "it tells nothing; it must tell `on`, or `off: ` and why"
    wrong = [text for text in told if not text.startswith(("on", "off: "))]
    assert not wrong, f"it tells {wrong}; it must tell `on`, or `off: ` and why"
    assert fast.counters() == plain.counters(), f"its counters are {fast.counters()}, and without it {plain.counters()}"
    pairs = [(name, value.double(), tensors_of(fast)[name].double()) for name, value in tensors_of(plain).items()]
    far = [name for name, a, b in pairs if not torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)]
    assert not far, f"accelerated, it computes others of {far}"


# -- what users see ----------------------------------------------------------------------------------------------------


def writes_images(write: Any, suffix: str) -> None:
    """An image format writes the file that it is asked for and no other, in folders that are missing."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "deep" / f"{number}.{suffix}" for number in (1, 3)]
        for number, path in zip((1, 3), paths, strict=True):
            write(torch.zeros(2 * number, number, 8, 8), path, columns=2)
        there = sorted(paths[0].parent.iterdir())
        assert there == paths, f"it leaves {[path.name for path in there]} where it is to write {[path.name for path in paths]}"


def shows_help(command: click.Command) -> None:
    """A command shows its help."""
    shown = CliRunner().invoke(command, ["--help"])
    assert shown.exit_code == 0, f"--help ends with status {shown.exit_code}: {shown.output}"


def takes_a_command(executor: Callable[..., Any]) -> None:
    """An executor takes a command line and what every executor is told, and starts nothing before it is iterated."""
    lines = executor(["doctor"], folder=Path("runs"), number=1, pending=1)
    assert isinstance(lines, Iterator), f"it returns {type(lines).__name__}, which yields no lines"
