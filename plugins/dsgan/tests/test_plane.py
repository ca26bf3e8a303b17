"""Points in the plane: the sets and their densities, the score of low density, and the picture of a field."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from gancore_dsgan.datasets import Disc, Rings, SwissRoll
from gancore_dsgan.field import discriminator_field, draw
from gancore_dsgan.low_density import LowDensity, log_density
from gancore_standard.heads import Projection
from gancore_training.trainer import open_run
from PIL import Image
from scipy import stats
from torch import Tensor

import gancore
from gancore import GancoreError
from gancore.cli.main import main
from gancore.contract.settings import check
from gancore.engine.devices import choose_device
from gancore.registry import registry

SETS: list[Any] = [
    SwissRoll(),
    SwissRoll(turns=0.5, noise=0.04),
    Disc(),
    Disc(center="dense", radius=0.9, floor=0.2),
    Disc(floor=1.0),
    Rings(),
    Rings(rings=1, noise=0.04),
]
NAMES = [f"{type(points).__name__}{n}" for n, points in enumerate(SETS)]
every_set = pytest.mark.parametrize("points", SETS, ids=NAMES)


def cells(number: int, pieces: int, reach: float = 1.2) -> Tensor:
    """Middles (number * number * pieces * pieces, 2) of a grid's cells; the pieces of a cell follow each other."""
    side = torch.linspace(-reach, reach, 2 * number * pieces + 1, dtype=torch.float64)[1::2]
    x, y = torch.meshgrid(side, side, indexing="ij")
    grid = torch.stack([x, y], -1).view(number, pieces, number, pieces, 2)
    return grid.permute(0, 2, 1, 3, 4).reshape(-1, 2)


def masses(points: Any, number: int, pieces: int, reach: float = 1.2) -> Tensor:
    """The density's integral over each of number * number cells, by sums over their pieces."""
    area = (2 * reach / (number * pieces)) ** 2
    density: Tensor = points.density(cells(number, pieces, reach)).view(number * number, pieces * pieces)
    return density.sum(1) * area


# -- sets --------------------------------------------------------------------------------------------------------------


@every_set
def test_a_density_integrates_to_one(points: Any) -> None:
    # The disc ends in a jump, which a grid meets only roughly; the others are smooth, so that sums are nearly exact, and the
    # widest has 4e-9 beyond the grid.
    tolerance = 1e-3 if isinstance(points, Disc) else 1e-8
    assert masses(points, 1, 400).item() == pytest.approx(1, abs=tolerance)


@every_set
def test_points_are_distributed_as_the_density_says(points: Any) -> None:
    drawn = points.load("train")[0].flatten(1).double()
    number = 24
    expected = masses(points, number, 16) * len(drawn)
    row, column = ((drawn + 1.2) / 2.4 * number).floor().long().unbind(1)
    counts = torch.bincount(row * number + column, minlength=number**2).double()
    assert counts.sum() == len(drawn)
    full = expected >= 20
    # What the cells with few points hold is one cell more.
    expected = torch.cat([expected[full], (len(drawn) - expected[full].sum()).clamp(min=1).view(1)])
    counts = torch.cat([counts[full], counts[~full].sum().view(1)])
    statistic = ((counts - expected).square() / expected).sum().item()
    degrees = len(counts) - 1
    # Sums over a cell's pieces are not exact at the disc's rim, so that the bound is generous, but far below what a wrong
    # density gives.
    bound = stats.chi2.isf(1e-5, degrees) + (0.5 * degrees if isinstance(points, Disc) else 0)
    assert statistic < bound


def test_the_check_of_the_distribution_finds_a_wrong_density() -> None:
    class Wrong(Disc):
        def _density(self, points: Tensor) -> Tensor:
            return Disc(floor=0.1)._density(points)

    with pytest.raises(AssertionError):
        test_points_are_distributed_as_the_density_says(Wrong())


@every_set
def test_the_information_fits_the_points(points: Any) -> None:
    info = points.info
    assert (info.channels, info.image_size, info.continuous) == (2, 1, True)
    assert len(info.class_names) == info.classes == len(set(info.class_names))
    for split, number in (("train", 20000), ("test", 5000)):
        images, labels = points.load(split)
        assert images.shape == (number, 2, 1, 1)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.abs().max() <= 1
        counts = torch.bincount(labels)
        assert len(counts) == info.classes
        assert counts.max() - counts.min() <= 1


@every_set
def test_a_set_is_a_function_of_its_settings(points: Any) -> None:
    state = torch.get_rng_state()
    first, second = points.load("train")[0], points.load("train")[0]
    assert torch.equal(first, second)
    assert not torch.equal(first[:5000], points.load("test")[0])
    assert not torch.equal(first, type(points)(seed=1).load("train")[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_test_set_is_a_quarter_and_the_seed_is_the_sets_own() -> None:
    points = Rings(samples=10, seed=3)
    assert [len(points.load(split)[1]) for split in ("train", "test")] == [10, 2]
    assert points.load("train")[1].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_classes_lie_where_their_names_say() -> None:
    images, labels = Rings(rings=4, noise=0.005).load("train")
    radius = images.flatten(1).norm(dim=1)
    torch.testing.assert_close(radius, 0.2 * (labels + 1), rtol=0, atol=0.03)


def test_the_roll_has_one_density_along_its_length() -> None:
    roll = SwissRoll(noise=0.01)
    along = roll.density(torch.from_numpy(roll._curve(np.linspace(0.05, 0.95, 200))))
    # Bends make the normal noise a little denser inside; apart from that the roll is a straight band.
    straight = 1 / (roll._length * math.sqrt(2 * math.pi) * 0.01)
    torch.testing.assert_close(along, torch.full_like(along, straight), rtol=2e-3, atol=0)
    ends = roll.density(torch.from_numpy(roll._curve(np.array([0.0, 1.0]))))
    torch.testing.assert_close(ends, torch.full_like(ends, straight / 2), rtol=2e-2, atol=0)
    curve = roll._curve(np.linspace(0, 1, 100_001))
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    assert steps.sum() == pytest.approx(roll._length, rel=1e-6)
    assert steps.max() / steps.min() == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(curve[-1]) == pytest.approx(0.8)


def test_a_sparse_disc_and_a_dense_one_mirror_each_other() -> None:
    places = torch.tensor([[0.0, 0.0], [0.0, 0.6 - 1e-12], [0.3, 0.0], [0.5, 0.5]], dtype=torch.float64)
    sparse, dense = (Disc(center=center).density(places) for center in ("sparse", "dense"))
    area = math.pi * 0.6**2 * 1.02 / 2
    torch.testing.assert_close(sparse * area, torch.tensor([0.02, 1.0, 0.02 + 0.98 / 4, 0.0], dtype=torch.float64))
    torch.testing.assert_close(dense * area, torch.tensor([1.0, 0.02, 0.02 + 0.98 * 3 / 4, 0.0], dtype=torch.float64))


def test_the_density_of_a_ring_is_the_roll_of_noise_around_it() -> None:
    # Against a sum over the ring, which converges faster than any power.
    angle = torch.arange(4000, dtype=torch.float64) * (2 * math.pi / 4000)
    centers = 0.8 * torch.stack([angle.cos(), angle.sin()], 1)
    places = torch.tensor([[0.8, 0.0], [0.5, 0.6], [0.0, 0.7], [0.0, 0.0]], dtype=torch.float64)
    apart = (places[:, None] - centers).square().sum(2)
    expected = torch.exp(-apart / (2 * 0.03**2)).mean(1) / (2 * math.pi * 0.03**2)
    torch.testing.assert_close(Rings(rings=1, noise=0.03).density(places), expected, rtol=1e-10, atol=1e-300)


def test_a_density_of_no_points_is_empty_and_of_other_shapes_is_refused() -> None:
    for points in SETS:
        assert points.density(torch.zeros(0, 2)).shape == (0,)
        with pytest.raises(GancoreError, match=r"points of the shape \(M, 2\), not \(4, 3\)"):
            points.density(torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (SwissRoll, {"noise": 0.05}),
        (SwissRoll, {"turns": 0}),
        (SwissRoll, {"samples": 3}),
        (Disc, {"center": "empty"}),
        (Disc, {"radius": 0.95}),
        (Disc, {"floor": 0}),
        (Rings, {"rings": 0}),
        (Rings, {"seed": -1}),
    ],
)
def test_settings_out_of_range_are_refused(cls: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(GancoreError, match=next(iter(settings))):
        check(cls, settings, where="data", context={})


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(GancoreError, match="'train' and 'test', not 'valid'"):
        Disc().load("valid")


# -- low density -------------------------------------------------------------------------------------------------------


def as_images(points: Tensor) -> Tensor:
    return points.float()[:, :, None, None]


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_density(real: Tensor, fake: Tensor, **settings: Any) -> dict[str, Any]:
    metric = LowDensity(**settings)
    for batch in real.split(37):
        metric.update_real(images=as_images(batch))
    for batch in fake.split(50):
        metric.update(images=as_images(batch))
    return metric.compute()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_estimate_is_that_of_scipy(dimensions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # So small that the places come in several chunks.
    monkeypatch.setattr("gancore_dsgan.low_density._CHUNK", 300)
    data, places = normals(60, dimensions), normals(25, dimensions, seed=1)
    density, nearest = log_density(places, data, 0.3)
    # scipy scales its bandwidth by the data's covariance; whitened data have the unit matrix.
    root = np.linalg.inv(np.linalg.cholesky(np.cov(data.numpy().T, ddof=1).reshape(dimensions, dimensions)))
    white = log_density(places @ torch.from_numpy(root).T, data @ torch.from_numpy(root).T, 0.3)[0]
    expected = stats.gaussian_kde(data.numpy().T, bw_method=0.3).logpdf(places.numpy().T)
    torch.testing.assert_close(white + math.log(abs(np.linalg.det(root))), torch.from_numpy(expected))
    brute = torch.stack([(data - place).norm(dim=1).min() for place in places])
    torch.testing.assert_close(nearest, brute)
    by_hand = torch.stack([torch.exp(-(data - place).square().sum(1) / (2 * 0.3**2)).mean() for place in places])
    torch.testing.assert_close(density, by_hand.log() - dimensions * math.log(math.sqrt(2 * math.pi) * 0.3))


def test_a_point_leaves_itself_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gancore_dsgan.low_density._CHUNK", 90)
    data = normals(20, 2)
    data[7] = data[3]
    density, nearest = log_density(data, data, 0.2, leave_one_out=True)
    for n in range(20):
        others = torch.cat([data[:n], data[n + 1 :]])
        alone, distance = log_density(data[n : n + 1], others, 0.2)
        torch.testing.assert_close(density[n], alone[0])
        torch.testing.assert_close(nearest[n], distance[0])
    # Only itself, not every point that is equal to it.
    assert nearest[3] == nearest[7] == 0


def test_points_of_the_data_themselves_are_rare_as_often_as_the_level_says() -> None:
    roll = SwissRoll(samples=8000)
    real, fake = roll.load("test")[0].flatten(1), roll.load("train")[0].flatten(1)[:4000]
    for level in (0.05, 0.3):
        score = low_density(real, fake, level=level)["outside"]
        # The level and the share are both counted, on 2000 and 4000 points.
        assert score == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) * (1 / 2000 + 1 / 4000)))


def test_without_leaving_points_out_the_level_would_be_too_high() -> None:
    data = normals(200, 2)
    own, _ = log_density(data, data, 0.1)
    others, _ = log_density(data, data, 0.1, leave_one_out=True)
    assert (own > others).all()


def test_points_beside_the_data_are_outside_and_points_on_them_are_not() -> None:
    rings = Rings(rings=1, samples=4000)
    real = rings.load("test")[0].flatten(1).double()
    angle = torch.linspace(0, 6.28, 300, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    on = low_density(real, 0.8 * circle)
    assert on["outside"] < 0.02
    assert on["inside_bounds"] == 1
    assert on["mean_distance"] < 0.02
    beside = low_density(real, 0.95 * circle)
    assert beside["outside"] == 1
    assert beside["mean_distance"] == pytest.approx(0.13, abs=0.03)
    beyond = low_density(real, torch.cat([1.2 * circle, 0.8 * circle]))
    assert beyond["outside"] == pytest.approx(0.5, abs=0.01)
    assert 0.5 < beyond["inside_bounds"] < 1
    center = low_density(Disc(samples=8000).load("test")[0].flatten(1), 0.02 * normals(200, 2), level=0.05)
    assert center["outside"] > 0.9


def test_points_far_from_all_data_are_outside_however_isolated_the_data() -> None:
    # All these densities are 0 in floating point.
    real = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    score = low_density(real, torch.tensor([[-0.9, -0.9], [0.0, 0.0]]), bandwidth=0.005, level=0.5)
    assert score["outside"] == 0.5
    assert score["mean_distance"] == pytest.approx(0.9 * math.sqrt(2) / 2)


def test_a_reset_forgets_the_generated_points_and_keeps_the_real_ones() -> None:
    metric = LowDensity()
    metric.update_real(images=as_images(normals(50, 2)))
    metric.update(images=as_images(normals(10, 2, seed=1) + 9))
    assert metric.compute()["outside"] == 1
    metric.reset()
    with pytest.raises(GancoreError, match="at least one generated point, and there are 0"):
        metric.compute()
    metric.update(images=torch.zeros(3, 2, 1, 1))
    assert metric.compute()["inside_bounds"] == 1
    before = metric._threshold
    metric.update_real(images=as_images(normals(50, 2, seed=2) / 9))
    metric.compute()
    assert metric._threshold != before


def test_unusable_points_are_refused() -> None:
    metric = LowDensity()
    with pytest.raises(GancoreError, match="at least one generated point, and there are 0"):
        metric.compute()
    metric.update(images=torch.zeros(3, 2, 1, 1))
    metric.update_real(images=torch.zeros(1, 2, 1, 1))
    with pytest.raises(GancoreError, match="at least two real points, and there is 1"):
        metric.compute()
    with pytest.raises(GancoreError, match="points of 3 values came after points of 2"):
        metric.update(images=torch.zeros(3, 3, 1, 1))
    with pytest.raises(GancoreError, match="images of 64 values are no points"):
        metric.update_real(images=torch.zeros(3, 1, 8, 8))
    metric.update_real(images=torch.zeros(4, 2, 1, 1))
    metric.update(images=torch.full((1, 2, 1, 1), math.nan))
    with pytest.raises(GancoreError, match="generated points are not finite"):
        metric.compute()


def test_the_protocol_has_the_settings_and_they_are_checked() -> None:
    assert LowDensity(level=0.1).protocol() != LowDensity().protocol() != LowDensity(bandwidth=0.1).protocol()
    assert json.dumps(LowDensity().protocol())
    for settings in ({"level": 0}, {"level": 1}, {"bandwidth": 0}):
        with pytest.raises(GancoreError, match=next(iter(settings))):
            check(LowDensity, settings, where="metrics.rare", context={})


# -- field -------------------------------------------------------------------------------------------------------------


def colored(picture: Image.Image) -> tuple[int, int]:
    """How many pixels are about as blue as data, and as orange as generated points, inside the frame."""
    size = picture.size[0]
    pixels = np.asarray(picture.crop((size // 12, size // 20, size * 9 // 10, size * 9 // 10))).astype(int)
    red, blue = pixels[..., 0], pixels[..., 2]
    return int((blue - red > 20).sum()), int((red - blue > 60).sum())


def test_a_field_shows_data_generated_points_and_the_discriminator() -> None:
    ramp = torch.linspace(-3, 3, 50).expand(50, 50)
    nothing = torch.zeros(0, 2)
    empty = draw(ramp, nothing, nothing, size=240)
    assert empty.size == (240, 270)
    assert empty.mode == "RGB"
    shown = np.asarray(empty).astype(int)
    left, right = shown[120, 25:35].mean(0), shown[120, 215:225].mean(0)
    # Pale violet where D is low, pale green where it is high.
    assert left[1] < min(left[0], left[2])
    assert right[1] > max(right[0], right[2])
    assert colored(empty)[1] == 0
    blues, oranges = colored(draw(ramp, torch.tensor([[0.1, 0.3]]).repeat(5, 1), nothing, size=240))
    assert blues > colored(empty)[0]
    assert oranges == 0
    assert colored(draw(ramp, nothing, torch.tensor([[0.1, 0.3]]), size=240))[1] > 0


def test_a_field_stands_as_a_picture_does_and_so_do_the_points() -> None:
    field = torch.zeros(40, 40)
    field[:20, 20:] = 1.0
    nothing = torch.zeros(0, 2)
    shown = np.asarray(draw(field, nothing, nothing, size=240)).astype(int)
    greener = shown[..., 1] - (shown[..., 0] + shown[..., 2]) / 2
    # Row 0 is on top, and the last column at the right.
    assert greener[60, 190] > greener[60, 60] + 5
    assert greener[60, 190] > greener[190, 190] + 5
    dotted = np.asarray(draw(torch.zeros(2, 2), nothing, torch.tensor([[0.8, 0.8]]), size=240)).astype(int)
    rows, columns = np.nonzero((dotted[..., 0] - dotted[..., 2] > 60)[:220])
    assert rows.mean() < 60
    assert columns.mean() > 180


def test_a_field_depends_on_ranks_alone_so_that_critics_of_any_scale_can_be_seen() -> None:
    nothing = torch.zeros(0, 2)
    field = torch.linspace(-2, 2, 900, dtype=torch.float64).view(30, 30)
    # Above the legend, which gives the values.
    one, two = (np.asarray(draw(f, nothing, nothing, size=200))[:190] for f in (field, 1000 + field**3))
    assert (one == two).all()
    assert draw(torch.zeros(3, 3), nothing, nothing).size == (600, 675)


@pytest.mark.parametrize(
    ("field", "words"), [(1e-9 * torch.rand(9, 9), "e-"), (1e6 + torch.rand(9, 9), "."), (torch.zeros(9, 9), "0")]
)
def test_the_values_of_a_field_are_told_apart(field: Tensor, words: str) -> None:
    from gancore_dsgan.field import _texts

    texts = _texts(torch.quantile(field.double().flatten(), torch.linspace(0, 1, 5, dtype=torch.float64)).tolist())
    assert any(words in text for text in texts)
    assert len(set(texts)) == (1 if words == "0" else 5)


def test_points_beyond_the_axes_and_points_that_are_not_finite_are_noted() -> None:
    field, nothing = torch.zeros(5, 5), torch.zeros(0, 2)
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [math.nan, 0.0]])
    shown = np.asarray(draw(field, nothing, points, size=240)).astype(int)
    orange = shown[..., 0] - shown[..., 2] > 60
    assert orange[105:125, 225:240].any()
    plain = np.asarray(draw(field, nothing, points[:1], size=240)).astype(int)
    assert orange[255:].sum() > (plain[..., 0] - plain[..., 2] > 60)[255:].sum()


def test_unusable_fields_are_refused() -> None:
    field, points = torch.zeros(5, 5), torch.zeros(3, 2)
    for shape in ((5,), (5, 4), (1, 1)):
        with pytest.raises(GancoreError, match="must be a square grid"):
            draw(torch.zeros(shape), points, points)
    with pytest.raises(GancoreError, match=r"the data of a field must be points \(N, 2\), and got \(3, 3\)"):
        draw(field, torch.zeros(3, 3), points)
    with pytest.raises(GancoreError, match="the generated points of a field must be"):
        draw(field, points, torch.zeros(3, 2, 1, 1))
    with pytest.raises(GancoreError, match="200 pixels wide or more"):
        draw(field, points, points, size=10)
    with pytest.raises(GancoreError, match="not finite everywhere"):
        draw(field + math.inf, points, points)


RECIPE = """
summary = "A tiny game in the plane"
[run]
iterations = 3
batch_size = 16
latent_dim = 2
precision = "float32"
[data]
use = "dsgan/DATA"
samples = 200
[networks.generator]
use = "standard/mlp-generator"
hidden = 8
depth = 1
[networks.discriminator]
use = "standard/mlp-discriminator"
hidden = 8
depth = 1
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/non-saturating"
[evaluation]
samples = 60
batch_size = 32
[metrics.rare]
use = "dsgan/low-density"
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def trained(folder: Path, text: str, *assignments: str) -> Path:
    (folder / "tiny.toml").write_text(text)
    settings = [word for assignment in assignments for word in ("--set", assignment)]
    done = run("train", folder / "tiny.toml", "--out", folder / "run", "--device", "cpu", *settings)
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_the_command_draws_a_run(tmp_path: Path) -> None:
    folder = trained(tmp_path, RECIPE.replace("DATA", "swiss-roll"))
    done = run("field", folder, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert done.output == f"The field is in {folder / 'field.png'}\n"
    other = tmp_path / "new" / "small.png"
    done = run("field", folder, "--device", "cpu", "--out", other, "--points", "500", "--size", "240")
    assert done.exit_code == 0, done.output
    with Image.open(folder / "field.png") as large, Image.open(other) as small:
        assert (large.size, small.size) == ((600, 675), (240, 270))
        assert min(colored(small.convert("RGB"))) > 0
    assert not list(tmp_path.rglob("*.part"))
    # The points that the metrics see are not rounded to 8 bits.
    scores = json.loads((folder / "scores.jsonl").read_text().splitlines()[-1])
    assert set(scores["scores"]) == {"rare/outside", "rare/mean_distance", "rare/inside_bounds"}
    assert scores["protocols"]["rare"]["images_as"] == "float32"


def test_a_field_is_what_the_discriminator_says(tmp_path: Path) -> None:
    opened = open_run(trained(tmp_path, RECIPE.replace("DATA", "swiss-roll")), registry(), choose_device("cpu"))
    field = discriminator_field(opened, resolution=5)
    discriminator, head = opened.networks["discriminator"], opened.heads["adversarial"]
    assert discriminator.training
    # On top at the left, and in the middle of the right edge.
    for (row, column), place in {(0, 0): (-1.1, 1.1), (2, 4): (1.1, 0.0)}.items():
        with torch.no_grad():
            said = head(discriminator(torch.tensor(place).view(1, 2, 1, 1)), torch.zeros(1, dtype=torch.int64))
        torch.testing.assert_close(field[row, column], said[0])


def test_a_field_of_a_conditional_discriminator_is_the_mean_over_the_classes(tmp_path: Path) -> None:
    opened = open_run(trained(tmp_path, RECIPE.replace("DATA", "rings")), registry(), choose_device("cpu"))
    features = opened.networks["discriminator"].features
    opened.heads["adversarial"] = Projection(features=features, classes=3, spectral_norm=False)
    field = discriminator_field(opened, resolution=2)
    with torch.no_grad():
        features = opened.networks["discriminator"](torch.tensor([1.1, -1.1]).view(1, 2, 1, 1)).expand(3, -1)
        said = opened.heads["adversarial"](features, torch.arange(3))
    torch.testing.assert_close(field[1, 1], said.mean())


def test_runs_that_have_no_field_are_refused(tmp_path: Path) -> None:
    done = run("field", tmp_path)
    assert done.exit_code == 2
    assert str(tmp_path) in done.output
    folder = trained(tmp_path, RECIPE.replace("DATA", "disc"))
    opened = open_run(folder, registry(), choose_device("cpu"))
    opened.heads["other"] = opened.heads.pop("adversarial")
    with pytest.raises(GancoreError, match=r"has no head 'adversarial', .* \(it has: other\)"):
        discriminator_field(opened)
    del opened.networks["generator"]
    with pytest.raises(GancoreError, match="has no generator"):
        discriminator_field(opened)


def test_a_run_on_images_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    text = RECIPE.replace("dsgan/DATA", "standard/digits").replace("samples = 200\n", "").split("[evaluation]")[0]
    done = run("field", trained(tmp_path, text), "--device", "cpu")
    assert done.exit_code == 2
    assert "is no run on points in the plane: its images are 1 x 8 x 8" in done.output


def test_a_head_of_several_values_is_refused(tmp_path: Path) -> None:
    opened = open_run(trained(tmp_path, RECIPE.replace("DATA", "rings")), registry(), choose_device("cpu"))
    opened.heads["adversarial"] = Pairs()
    with pytest.raises(GancoreError, match=r"gives \(2,\) values per point; a field needs one logit"):
        discriminator_field(opened)


class Pairs(gancore.Head):
    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return features[:, :2]
