"""Are the scores right, and what do they cost? Against torch-fidelity, NumPy and SciPy.

    python -m benchmarks.scores [--images 10000] [--inception weights-inception-2015-12-05-6726825d.pth]

Needs ``pip install "gancore-plugin-standard[inception]"``. Three tables:

1. Values on the same random features and logits, in float64. Where torch-fidelity draws at random, both get the same: the
   Inception score is of unshuffled splits, the kernel distance the mean over the very subsets that torch-fidelity draws, and
   then whole metrics with subsets of all images. torch-fidelity has no density and coverage: these, and all else, are also
   computed from their definitions by NumPy and SciPy. The greatest relative difference must be below 1e-6.
2. Time of the 2048-dimensional Frechet term, in turns: ours from two covariances, ``scipy.linalg.sqrtm`` of their product,
   and the eigenvalues of the product, as torch-fidelity does it.
3. A whole evaluation of as many real and as many generated 8-bit images: Inception score, Frechet and kernel distance,
   precision and recall, by gancore's evaluator and by ``torch_fidelity.calculate_metrics`` with the same extractor, in
   turns. Both compute features in float32, batch by batch, in another memory layout, so the values agree to what that leaves.
   The later evaluations of a training don't read the real images again, which has a line of its own.

Without `--inception` the extractor has random weights in the published file's format: the times are the same, the values
mean nothing.
"""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import click
import gancore_standard
import numpy as np
import scipy.linalg
import torch
from gancore_standard.metrics.frechet import FrechetDistance, frechet_distance
from gancore_standard.metrics.inception_score import InceptionScore
from gancore_standard.metrics.kernel import KernelDistance, squared_mmd
from gancore_standard.metrics.prdc import PrecisionRecall
from gancore_standard.torchvision_import import torchvision
from gancore_training import Evaluator, TrainingRun
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks import hosts
from benchmarks.host_parts import blobs
from benchmarks.tables import machine, markdown, write_json
from gancore.engine import to_unit
from gancore.errors import GancoreError
from gancore.plan import make_plan
from gancore.recipe import check_table
from gancore.registry import Registry

Array = np.ndarray[Any, np.dtype[np.float64]]
WIDTH = 2048
CLASSES = 1008
NEIGHBORS = 3
FIDELITY_SEED = 2020
AGREEMENT = 1e-6


def fidelity(module: str = "") -> Any:
    """Return torch-fidelity, or a module of it."""
    torchvision()  # which torch-fidelity imports at once; this makes it work beside a CPU-only torch
    try:
        return importlib.import_module(f"torch_fidelity{module}")
    except ImportError as error:
        raise GancoreError(
            f'torch-fidelity can\'t be imported ({error}); pip install "gancore-plugin-standard[inception]".'
        ) from error


def random_weights(path: Path) -> None:
    """Write weights at random in the format of torch-fidelity's Inception network, of a scale that keeps its signals."""
    module = fidelity(".feature_extractor_inceptionv3")
    # The constructor always loads weights; this one loads none.
    blank = type("Blank", (module.FeatureExtractorInceptionV3,), {"load_state_dict": lambda *_, **__: None})
    with mock.patch.object(module, "load_state_dict_from_url", return_value={}):
        network: nn.Module = blank("inception-v3-compat", ["2048"])
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    torch.save(network.state_dict(), path)


# -- values ------------------------------------------------------------------------------------------------------------


def features_of(number: int, seed: int, shift: float = 0.0) -> Tensor:
    """Return features (number, WIDTH) in float64, correlated, with variances over five powers of ten as Inception's have."""
    mixing = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 8
    deviations = torch.logspace(0, -2.5, WIDTH, dtype=torch.float64)
    drawn = torch.randn(number, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mixed: Tensor = ((drawn + shift) * deviations).view(number, -1, 64) @ mixing
    return mixed.flatten(1)


def ours(metric: Any, real: Tensor, fake: Tensor) -> dict[str, float]:
    """Return what a metric says of features."""
    metric.update_real(features=real)
    metric.update(features=fake)
    scores: dict[str, float] = metric.compute()
    return scores


def frechet_by_scipy(a: Array, b: Array) -> float:
    """Return the Frechet distance as the published codes compute it."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def kernel_by_numpy(a: Array, b: Array) -> float:
    """Return the unbiased squared MMD with the cubic kernel."""
    xx, yy, xy = (((p @ q.T) / p.shape[1] + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
    within = sum((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy))
    return float(within - 2 * xy.mean())


def coverage_by_scipy(real: Array, fake: Array, k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage from whole matrices of distances."""
    across = cdist(real, fake)
    real_radii, fake_radii = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, fake))  # column 0 is the point itself
    inside = across <= real_radii[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((across <= fake_radii[None]).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float(inside.any(1).mean()),
    }


def score_by_numpy(logits: Array, splits: int) -> tuple[float, float]:
    """Return the Inception score's mean and deviation."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    parts = [p[i * len(p) // splits : (i + 1) * len(p) // splits] for i in range(splits)]
    each = [np.exp((part * (np.log(part) - np.log(part.mean(0)))).sum(1).mean()) for part in parts]
    return float(np.mean(each)), float(np.std(each))


def compare_values(number: int) -> dict[str, tuple[float, float | None, float]]:
    """Return for each value ours, torch-fidelity's (None where it has none), and NumPy's or SciPy's."""
    fid, isc, kid, prc = (fidelity(f".metric_{name}") for name in ("fid", "isc", "kid", "prc"))
    real, fake = features_of(number, 1), features_of(number, 2, shift=0.2)
    logits = 3 * torch.randn(number, CLASSES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found: dict[str, tuple[float, float | None, float]] = {}
    moments = [fid.fid_features_to_statistics(x) for x in (fake, real)]
    theirs = fid.fid_statistics_to_metric(*moments, False)["frechet_inception_distance"]
    found["Frechet distance"] = (
        ours(FrechetDistance(), real, fake)["fid"],
        theirs,
        frechet_by_scipy(real.numpy(), fake.numpy()),
    )
    metric = InceptionScore(splits=10)
    metric.update(logits=logits)
    score = metric.compute()
    both = isc.isc_features_to_metric(logits, 10, shuffle=False)
    by_hand = score_by_numpy(logits.numpy(), 10)
    for place, (name, key) in enumerate((("inception_score", "mean"), ("inception_score_std", "std"))):
        found[name] = (score[name], both[f"inception_score_{key}"], by_hand[place])
    # Subsets of all images hold the same whichever are drawn.
    few = min(1000, number)
    x, y = real[:few], fake[:few]
    whole = {"kid_subset_size": few, "kid_subsets": 2, "verbose": False}
    found["kernel distance, subsets of all"] = (
        ours(KernelDistance(subsets=2, subset_size=few), x, y)["kid"],
        kid.kid_features_to_metric(y, x, **whole)["kernel_inception_distance_mean"],
        kernel_by_numpy(x.numpy(), y.numpy()),
    )
    size, draws = few // 2, np.random.RandomState(FIDELITY_SEED)
    chosen = [[draws.choice(number, size, replace=False) for _ in range(2)] for _ in range(20)]
    some = {"kid_subset_size": size, "kid_subsets": 20, "rng_seed": FIDELITY_SEED, "verbose": False}
    found["kernel distance, its 20 subsets"] = (
        statistics.fmean(float(squared_mmd(real[b], fake[a])) for a, b in chosen),
        kid.kid_features_to_metric(fake, real, **some)["kernel_inception_distance_mean"],
        statistics.fmean(kernel_by_numpy(real.numpy()[b], fake.numpy()[a]) for a, b in chosen),
    )
    both = prc.prc_features_to_metric(y, x, prc_neighborhood=NEIGHBORS, verbose=False)
    by_hand_each = coverage_by_scipy(x.numpy(), y.numpy(), NEIGHBORS)
    for name, value in ours(PrecisionRecall(neighbors=NEIGHBORS), x, y).items():
        found[name] = (value, both.get(name), by_hand_each[name])
    return found


def difference(value: float, reference: float | None) -> float | None:
    """Return the relative difference."""
    if reference is None:
        return None
    return abs(value - reference) / max(abs(reference), 1e-12)


# -- time --------------------------------------------------------------------------------------------------------------


def in_turns(contestants: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contestant's calls."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return times


def frechet_terms(number: int) -> dict[str, Callable[[], float]]:
    """Return the Frechet distance of two covariances, computed in three ways."""
    (mean_a, cov_a), (mean_b, cov_b) = (
        (x.mean(0), torch.cov(x.T)) for x in (features_of(number, 1), features_of(number, 2, shift=0.2))
    )
    a, b = cov_a.numpy(), cov_b.numpy()
    rest = float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace())
    return {
        "gancore": lambda: frechet_distance(mean_a, cov_a, mean_b, cov_b),
        "scipy.linalg.sqrtm": lambda: rest - 2 * float(np.trace(scipy.linalg.sqrtm(a @ b)).real),
        "eigenvalues of the product": lambda: rest - 2 * float(np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()),
    }


class Images(Dataset[Tensor]):
    """Images as torch-fidelity takes them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def lend(network: Any) -> str:
    """Register a run's classifier as a feature extractor of torch-fidelity, and return its name there."""
    base: Any = fidelity(".feature_extractor_base").FeatureExtractorBase
    name = "lent"

    class Lent(base):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            features = network.embed(to_unit(images))
            found = {"features": features, "logits": network.classify(features)}
            return tuple(found[name] for name in self.features_list)

    fidelity(".registry").register_feature_extractor(name, Lent)
    return name


def evaluation_run(images: int, size: int, batch: int, path: Path | None, device: torch.device) -> TrainingRun:
    """Return a run whose generated images are known, with the four metrics; without a path on a ResNet-32's features."""
    extractor = {"use": "hosts/resnet32"} if path is None else {"use": "standard/inception", "path": str(path)}
    table: dict[str, Any] = {
        "run": {"precision": "float32"},
        "data": {"use": "hosts/blobs", "number": images, "size": size},
        "networks": {
            "generator": {"use": "hosts/replay", "number": images},
            "discriminator": {"use": "standard/mlp-discriminator"},
            "inception": extractor,
        },
        "heads": {"adversarial": {"use": "standard/linear"}},
        "losses": {"adversarial": {"use": "standard/relativistic"}},
        "metrics": {
            "fid": {"use": "standard/fid", "network": "inception"},
            "score": {"use": "standard/inception-score", "network": "inception"},
            "kid": {"use": "standard/kid", "network": "inception", "subset_size": min(1000, images)},
            "prdc": {"use": "standard/prdc", "network": "inception", "neighbors": NEIGHBORS, "samples": images},
        },
        "evaluation": {"samples": images, "batch_size": batch},
    }
    registry = Registry.of({"standard": gancore_standard, "hosts": hosts})
    return TrainingRun(make_plan(check_table(table, registry, name="scores"), registry), device)


def evaluate(
    run: TrainingRun, images: int, size: int, batch: int, path: Path | None, rounds: int
) -> tuple[Any, Any, dict[str, list[float]]]:
    """Return gancore's scores, torch-fidelity's, and the seconds of each."""
    real, fake = Images(blobs(images, size, seed=1)), Images(blobs(images, size, seed=2, scale=0.7))
    options = {
        "isc": True,
        "fid": True,
        "kid": True,
        "prc": True,
        "feature_extractor": lend(run.networks["inception"]) if path is None else "inception-v3-compat",
        "feature_extractor_weights_path": None if path is None else str(path),
        "cuda": run.device.type == "cuda",
        "batch_size": batch,
        "kid_subset_size": min(1000, images),
        "prc_neighborhood": NEIGHBORS,
        "samples_shuffle": False,
        "save_cpu_ram": True,  # no further processes, as gancore has none
        "cache": False,
        "verbose": False,
    }
    scores: dict[str, Any] = {}
    evaluators: list[Evaluator] = []

    def first() -> None:
        evaluators.append(Evaluator(run))
        scores["gancore"] = evaluators[-1]().values

    def later() -> None:
        evaluators[-1]()

    def other() -> None:
        scores["torch-fidelity"] = fidelity().calculate_metrics(input1=fake, input2=real, **options)

    times = in_turns({"gancore": first, "gancore, real statistics kept": later, "torch-fidelity": other}, rounds)
    return scores["gancore"], scores["torch-fidelity"], times


@click.command()
@click.option("--images", default=10_000, show_default=True, help="Real images, and as many generated ones; 0 for none.")
@click.option("--size", default=32, show_default=True, help="Height and width of the images, in pixels.")
@click.option("--batch", default=50, show_default=True, help="Images per batch.")
@click.option(
    "--features", default=5000, show_default=True, help="Feature vectors of a side whose scores are compared; 0 for none."
)
@click.option("--repetitions", default=5, show_default=True, help="Of the Frechet term; 0 for none.")
@click.option("--rounds", default=1, show_default=True, help="Of whole evaluations.")
@click.option(
    "--inception", type=click.Path(path_type=Path, exists=True), help="Weights of torch-fidelity's Inception network."
)
@click.option(
    "--extractor",
    type=click.Choice(["inception", "resnet32"]),
    default="inception",
    show_default=True,
    help="Whose features: resnet32 is small and untrained, so that what is not the network's time shows.",
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/scores.json"), show_default=True)
def main(
    images: int,
    size: int,
    batch: int,
    features: int,
    repetitions: int,
    rounds: int,
    inception: Path | None,
    extractor: str,
    device: str,
    out: Path,
) -> None:
    """Compare, measure, and print tables."""
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value))
    results: dict[str, Any] = {}
    if features:
        results["values"] = _values(features)
    if repetitions:
        results["frechet_seconds"] = _frechet(features or 5000, repetitions)
    if images:
        results["evaluation"] = _evaluation(images, size, batch, rounds, extractor, inception, torch.device(device))
    write_json(out, results)
    if results.get("values", {}).get("greatest", 0.0) >= AGREEMENT:
        raise SystemExit(f"some scores differ by {AGREEMENT:g} or more.")


def _values(number: int) -> dict[str, Any]:
    found = compare_values(number)
    rows, worst = [], 0.0
    for name, (value, theirs, by_hand) in found.items():
        apart = [difference(value, reference) for reference in (theirs, by_hand)]
        worst = max(worst, *(one for one in apart if one is not None))
        rows.append([name, f"{value:.9g}", *("-" if one is None else f"{one:.1e}" for one in apart)])
    print(f"\n{number} features of {WIDTH} dimensions a side; kernel distance, precision and the like on 1000 of them\n")
    print(markdown(["score", "gancore", "relative difference to torch-fidelity", "to NumPy/SciPy"], rows))
    print(f"\ngreatest relative difference {worst:.1e}, wanted below {AGREEMENT:g}")
    return {"scores": found, "greatest": worst}


def _frechet(number: int, repetitions: int) -> dict[str, Any]:
    terms = frechet_terms(number)
    distances = {name: call() for name, call in terms.items()}  # and a warm-up
    times = in_turns(terms, repetitions)
    rows = []
    for name, taken in times.items():
        ratio = statistics.median(other / own for other, own in zip(taken, times["gancore"], strict=True))
        apart = difference(distances[name], distances["gancore"])
        rows.append([name, f"{statistics.median(taken):.2f}", f"{ratio:.2f}", f"{apart:.1e}"])
    print(f"\nFrechet distance of two {WIDTH}-dimensional covariances, {repetitions} repetitions in turns\n")
    print(markdown(["computed by", "s (median)", "time of gancore's (median ratio)", "relative difference"], rows))
    return {"distances": distances, "seconds": times}


def _evaluation(
    images: int, size: int, batch: int, rounds: int, extractor: str, path: Path | None, device: torch.device
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights = None if extractor == "resnet32" else path or Path(folder) / "random.pth"
        if weights is not None and path is None:
            random_weights(weights)
        run = evaluation_run(images, size, batch, weights, device)
        mine, theirs, times = evaluate(run, images, size, batch, weights, rounds)
    kind = "Inception v3, " if weights is not None else "ResNet-32, "
    kind += "random weights: the values mean nothing" if weights is None or path is None else path.name
    print(f"\n{images} real and {images} generated images of {size} px, batches of {batch}, {rounds} rounds; {kind}\n")
    rows = []
    for name, taken in times.items():
        median = statistics.median(taken)
        ratio = statistics.median(own / other for own, other in zip(taken, times["torch-fidelity"], strict=True))
        read = images if "kept" in name else 2 * images
        rows.append([name, f"{median:.1f}", f"{1000 * median / read:.1f}", f"{ratio:.2f}"])
    print(markdown(["evaluation by", "s (median)", "ms per image read", "time of torch-fidelity's"], rows) + "\n")
    pairs = {
        "fid/fid": "frechet_inception_distance",
        "score/inception_score": "inception_score_mean",
        "score/inception_score_std": "inception_score_std",
        "kid/kid": "kernel_inception_distance_mean",
        "prdc/precision": "precision",
        "prdc/recall": "recall",
    }
    rows = []
    for name, key in pairs.items():
        # Their subsets are others than ours, unless each holds all images.
        apart = None if name == "kid/kid" and images > 1000 else difference(mine[name], theirs[key])
        rows.append([name, f"{mine[name]:.7g}", f"{theirs[key]:.7g}", "other subsets" if apart is None else f"{apart:.1e}"])
    print(markdown(["score", "gancore", "torch-fidelity", "relative difference"], rows))
    return {"images": images, "size": size, "weights": kind, "gancore": mine, "torch-fidelity": theirs, "seconds": times}


if __name__ == "__main__":
    main()
