"""The measurements: parity with the authors' code, each equation against an independent computation, bad settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_ambientgan.blurs import ConvolveNoise
from gancore_ambientgan.inversion import deconvolved, gaussian_kernel, inpainted
from gancore_ambientgan.masks import BlockPatch, BlockPixels, ExtractPatch, KeepPatch
from gancore_ambientgan.projections import GaussianProjection, PadRotateProject
from scipy import ndimage, signal
from torch import Tensor

from gancore import Drawn, GancoreError
from gancore.tools import check

Load = Callable[[str], dict[str, Any]]


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(number: int = 5, channels: int = 2, size: int = 8) -> Tensor:
    return torch.rand((number, channels, size, size), generator=noise(9)) * 2 - 1


MEASUREMENTS: dict[str, Callable[..., Any]] = {
    "block-pixels": BlockPixels,
    "block-rows": lambda **settings: BlockPixels(unit="row", **settings),
    "block-patch": lambda **settings: BlockPatch(size=3, image_size=8, **settings),
    "keep-patch": lambda **settings: KeepPatch(size=3, image_size=8, **settings),
    "extract-patch": lambda **settings: ExtractPatch(size=3, image_size=8, **settings),
    "convolve-noise": lambda **settings: ConvolveNoise(image_size=8, **settings),
    "pad-rotate-project": lambda **settings: PadRotateProject(image_size=8, **settings),
    "gaussian-projection": GaussianProjection,
}


# -- parity with the authors' code -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("DropIndependent", BlockPixels(probability=0.4)),
        ("DropRow", BlockPixels(probability=0.4, unit="row")),
        ("DropCol", BlockPixels(probability=0.4, unit="column")),
        ("DropPatch", BlockPatch(size=3, image_size=6)),
        ("KeepPatch", KeepPatch(size=3, image_size=6)),
    ],
)
def test_the_authors_measurements_of_their_theta(parity: Load, name: str, device: Any) -> None:
    vectors = parity("ambient_measurements")
    x, theta, y = (torch.as_tensor(vectors[key]).permute(0, 3, 1, 2) for key in ("x", f"{name}_theta", f"{name}_y"))
    torch.testing.assert_close(device.measure(x, theta), y, rtol=1e-9, atol=0)


def test_factors_and_squares_are_the_authors(parity: Load) -> None:
    """What is not blocked is divided by 1 - p; a square is zeroed, or kept, from its first row and column on."""
    vectors = parity("ambient_measurements")
    factors = BlockPixels(probability=0.4).theta(images().double(), noise()).unique()
    assert factors.tolist() == pytest.approx(sorted(set(vectors["DropIndependent_theta"].flatten().tolist())))
    for name, device in (("DropPatch", BlockPatch(size=3, image_size=6)), ("KeepPatch", KeepPatch(size=3, image_size=6))):
        theta = torch.as_tensor(vectors[f"{name}_theta"]).permute(0, 3, 1, 2)
        square = theta == (name == "KeepPatch")
        corners = torch.stack([square[n, 0].nonzero()[0] for n in range(len(square))])
        assert torch.equal(device.inside(corners, 6), square)


# -- equations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["pixel", "row", "column"])
def test_blocked_pixels_are_the_blank_and_the_others_scaled(unit: Any) -> None:
    device = BlockPixels(probability=0.25, unit=unit, blank=-1.0)
    x = images(2000, 2, 4)
    y = device.view(x, noise())
    blocked = y == -1
    assert blocked.float().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close((y + 1)[~blocked], ((x + 1) / 0.75)[~blocked])
    if unit != "pixel":
        across = blocked.all(3) if unit == "row" else blocked.all(2)
        along = blocked.any(3) if unit == "row" else blocked.any(2)
        assert torch.equal(across, along)
    plain = BlockPixels(probability=0.25, unit=unit, rescale=False).view(x, noise())
    assert torch.equal(plain == -1, blocked)
    torch.testing.assert_close(plain[~blocked], x[~blocked])


def test_squares_lie_everywhere_and_each_place_alike() -> None:
    """The public code never draws the last row and column; a generator would learn nothing of what lies there alone."""
    device = KeepPatch(size=3, image_size=8)
    corners = device.corners(images(6000, 1, 8), noise())
    counts = torch.bincount(corners.flatten(), minlength=6)
    assert len(counts) == 6
    assert (counts.float() / 12000 - 1 / 6).abs().max() < 0.01
    assert abs(np.corrcoef(corners.T.numpy())[0, 1]) < 0.05


def test_patches_are_blocked_kept_and_extracted_at_the_same_places() -> None:
    x = images()
    block, keep, extract = (MEASUREMENTS[f"{name}-patch"](blank=0.5).view(x, noise()) for name in ("block", "keep", "extract"))
    corners = MEASUREMENTS["extract-patch"]().corners(x, noise())
    for n, (top, left) in enumerate(corners.tolist()):
        where = (n, slice(None), slice(top, top + 3), slice(left, left + 3))
        expected = torch.full_like(x[n], 0.5)
        expected[where[1:]] = x[where]
        torch.testing.assert_close(keep[n], expected)
        torch.testing.assert_close(block[n] + keep[n], x[n] + 0.5)
        centered = torch.full_like(x[n], 0.5)
        centered[:, 2:5, 2:5] = x[where]
        torch.testing.assert_close(extract[n], centered)


def test_convolution_and_noise() -> None:
    x = images()
    clear = ConvolveNoise(image_size=8, deviation=0.0, radius=1.5, blank=-1.0).view(x, noise())
    place = np.arange(5) - 2.0
    kernel = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    expected = ndimage.convolve(x.numpy() + 1, (kernel / kernel.sum())[None, None], mode="constant") - 1
    np.testing.assert_allclose(clear.numpy(), expected, atol=1e-6)
    device = ConvolveNoise(image_size=8, deviation=0.3, size=1)
    delta = device.view(images(500), noise()) - images(500)
    assert delta.std().item() == pytest.approx(0.3, rel=0.02)
    assert delta.mean().item() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("size", "padding"), [(28, 6), (64, 14), (8, 2)])
def test_padding_is_the_authors_and_holds_a_diagonal(size: int, padding: int) -> None:
    device = PadRotateProject(image_size=size)
    assert device.padding == padding
    assert size + 2 * padding >= math.sqrt(2) * size


def test_sums_of_a_turned_image() -> None:
    x = images(1, 1, 8) + 1
    device = PadRotateProject(image_size=8, angles=1)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    quarter = {0.0: padded.sum(3), math.pi / 2: None, math.pi: padded.flip(2, 3).sum(3)}
    for angle, expected in quarter.items():
        sums = device.sums(x, torch.tensor([angle]))
        if expected is None:
            either = (padded.sum(2), padded.flip(3).sum(2))
            assert any(torch.allclose(sums, each, atol=1e-4) for each in either)
        else:
            torch.testing.assert_close(sums, expected, rtol=1e-4, atol=1e-4)
    slanted = device.sums(x, torch.tensor([0.7]))[0, 0].numpy()
    turned = max(
        (ndimage.rotate(padded[0, 0].numpy(), sign * math.degrees(0.7), reshape=False, order=1).sum(1) for sign in (1, -1)),
        key=lambda sums: -np.abs(sums - slanted).max(),
    )
    np.testing.assert_allclose(slanted, turned, atol=0.02)


@pytest.mark.parametrize("with_angle", [True, False])
def test_numbers_of_a_projection_fill_a_channel_from_its_beginning(with_angle: bool) -> None:
    x = images()
    device = PadRotateProject(image_size=8, with_angle=with_angle)
    theta = device.theta(x, noise())
    assert -math.pi <= theta.min() < theta.max() <= math.pi
    y = device.view(x, noise()).flatten(2) + 1
    step = 12 + with_angle
    for number in range(2):
        sums = device.sums(x + 1, theta[:, number]) / 8
        torch.testing.assert_close(y[:, :, number * step : number * step + 12], sums)
        if with_angle:
            expected = (theta[:, number] / math.pi + 1)[:, None].expand(-1, 2)
            torch.testing.assert_close(y[:, :, number * step + 12], expected)
    assert y[:, :, 2 * step :].abs().max() < 1e-6


def test_a_gaussian_projection_holds_the_line_and_the_place_on_it_and_no_more() -> None:
    x = images(200)
    device = GaussianProjection(blank=0.0)
    theta = device.theta(x, noise()).flatten(1).double()
    y = device.view(x, noise()).flatten(1).double()
    length = theta.norm(dim=1)
    along = (theta * x.flatten(1)).sum(1) / length
    lines = (y * theta).sum(1) / (y.norm(dim=1) * length)
    torch.testing.assert_close(lines, along.sign(), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.norm(dim=1), math.sqrt(128) * along.abs(), rtol=1e-5, atol=1e-5)
    # Changes of x across the line are not seen.
    across = x.flatten(1).double() - along[:, None] * theta / length[:, None]
    assert device.view((x + across.view(x.shape)).float(), noise()).sub(device.view(x, noise())).abs().max() < 1e-4


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_gradients_reach_the_image(name: str) -> None:
    device = MEASUREMENTS[name]()
    x = images(2).double()
    theta = device.theta(x, noise())
    theta = theta.double() if theta.is_floating_point() else theta
    assert torch.autograd.gradcheck(lambda image: device.double().measure(image, theta), (x.requires_grad_(),))


# -- the baselines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["block-pixels", "block-rows", "block-patch", "keep-patch", "extract-patch", "convolve-noise"])
def test_the_baselines_change_real_images_alone(name: str) -> None:
    x = images()
    batch = Drawn(x.clone(), torch.arange(5), sides={"other": (x, torch.arange(5))})
    ambient, ignore = MEASUREMENTS[name](), MEASUREMENTS[name](mode="ignore")
    assert ambient.draw(batch, noise()) is batch
    drawn = ignore.draw(batch, noise())
    assert torch.equal(drawn.real, ambient.view(x, noise()))
    assert torch.equal(batch.real, x)
    assert drawn.sides == batch.sides
    assert ignore.view(x, noise()) is x


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_the_images_of_a_group_are_measured_one_by_one(name: str) -> None:
    device, x = MEASUREMENTS[name](), images(6)
    measured = device.view(x.view(3, 2, *x.shape[1:]), noise())
    assert torch.equal(measured, device.view(x, noise()).view(3, 2, *x.shape[1:]))


def test_real_and_generated_images_are_measured_apart() -> None:
    x = images()
    for name, make in MEASUREMENTS.items():
        assert not torch.equal(make().view(x, noise(0)), make().view(x, noise(1))), name


def test_inpainting_solves_laplaces_equation() -> None:
    x = images(3, 1, 8).double()
    known = torch.rand((3, 1, 8, 8), generator=noise()) > 0.6
    known[0, :, 2:7, 2:7] = False
    filled = inpainted(torch.where(known, x, 0.0), known)
    for n in range(3):
        index = {tuple(place): k for k, place in enumerate((~known[n, 0]).nonzero().tolist())}
        matrix, right = np.zeros((len(index), len(index))), np.zeros(len(index))
        for (row, column), k in index.items():
            for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                other = (row + down, column + across)
                if not (0 <= other[0] < 8 and 0 <= other[1] < 8):
                    continue
                matrix[k, k] += 1
                if other in index:
                    matrix[k, index[other]] -= 1
                else:
                    right[k] += x[n, 0][other].item()
        solution = np.linalg.solve(matrix, right)
        np.testing.assert_allclose([filled[n, 0][place].item() for place in index], solution, atol=1e-3)
    assert torch.equal(filled[known], x[known])


def test_deconvolution_is_wieners_and_inverts_a_blur_without_noise() -> None:
    x = images(2, 2, 9).double()
    kernel = gaussian_kernel(0.6, 3).double()
    wrapped = torch.as_tensor(np.stack([[signal.convolve2d(c, kernel, mode="same", boundary="wrap") for c in n] for n in x]))
    torch.testing.assert_close(deconvolved(wrapped, kernel, 0.0), x, rtol=0, atol=1e-3)
    flat = deconvolved(torch.ones_like(x), kernel, 0.5)
    torch.testing.assert_close(flat, torch.full_like(x, 1 / (1.5 + 1e-6)))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("block-pixels", {}),
        ("block-pixels", {"inverse": "inpaint"}),
        ("block-patch", {}),
        ("convolve-noise", {"deviation": 0.1}),
    ],
)
def test_unmeasured_images_are_nearer_than_measured_ones(name: str, settings: dict[str, Any]) -> None:
    smooth = torch.nn.functional.interpolate(images(64, 1, 3), size=8, mode="bicubic").clamp(-1, 1)
    # Nothing lies at the border, as in images of digits.
    smooth = torch.nn.functional.pad(smooth[:, :, 1:-1, 1:-1], (1, 1, 1, 1), value=-1.0)
    batch = Drawn(smooth, torch.zeros(64, dtype=torch.int64))
    ignore, unmeasure = (
        MEASUREMENTS[name](mode=mode, **settings).draw(batch, noise()).real for mode in ("ignore", "unmeasure")
    )
    near, far = ((each - smooth).square().mean().item() for each in (unmeasure, ignore))
    assert near < 0.7 * far
    assert unmeasure.isfinite().all()


# -- bad settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "piece"),
    [
        (lambda: BlockPatch(size=9, image_size=8), "a patch of 9 pixels is larger than images of 8; lower size."),
        (lambda: ConvolveNoise(size=4, image_size=8), "not 4; change size."),
        (lambda: ConvolveNoise(size=9, image_size=8), "at most the 8 pixels of the images, not 9"),
        (lambda: PadRotateProject(angles=5, image_size=8), "5 angles give 65 numbers"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(make: Callable[[], Any], piece: str) -> None:
    with pytest.raises(GancoreError) as caught:
        make()
    assert piece in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_kernel_too_narrow_for_a_float_is_refused() -> None:
    with pytest.raises(GancoreError, match=r"^blur: radius must be a number at least 0\.01, not 1e-30\.$"):
        check(ConvolveNoise, {"radius": 1e-30}, where="blur")
    assert ConvolveNoise(radius=0.01, image_size=8).kernel.isfinite().all()
