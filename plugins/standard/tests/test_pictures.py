"""Pictures of generated images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gancore_standard.image_files import save_png
from gancore_standard.pictures import grid, scatter
from PIL import Image

from gancore import GancoreError


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def test_tiles_stand_in_reading_order_with_gutters_between_and_around() -> None:
    values = torch.tensor([-1.0, 0.0, 1.0])
    shown = pixels(grid(values.view(3, 1, 1, 1).expand(3, 1, 4, 6), columns=2, padding=1, scale=1))
    assert shown.shape == (2 * 4 + 3, 2 * 6 + 3, 3)
    assert (shown[1:5, 1:7] == 0).all()
    assert (shown[1:5, 8:14] == 128).all()
    assert (shown[6:10, 1:7] == 255).all()
    gutter = shown[0, 0]
    assert (shown[:, 7] == gutter).all()
    assert (shown[5] == gutter).all()
    assert (shown[6:10, 8:14] == gutter).all()


def test_colors_keep_their_channels_and_values_outside_are_clipped() -> None:
    image = torch.tensor([-1.0, 0.5, 9.0]).view(1, 3, 1, 1)
    assert pixels(grid(image, padding=0, scale=1)).tolist() == [[[0, 191, 255]]]


def test_other_numbers_of_channels_are_shown_as_their_mean() -> None:
    image = torch.tensor([-1.0, -1.0, 1.0, 1.0, 1.0]).view(1, 5, 1, 1)
    # mean 0.2, and (0.2 + 1) * 127.5 = 153
    assert pixels(grid(image, padding=0, scale=1)).tolist() == [[[153, 153, 153]]]


def test_enlarging_repeats_pixels() -> None:
    image = torch.rand(1, 1, 3, 2) * 2 - 1
    small, large = (pixels(grid(image, padding=0, scale=scale)) for scale in (1, 3))
    assert (large == small.repeat(3, 0).repeat(3, 1)).all()


@pytest.mark.parametrize(("size", "shown"), [(8, 48), (28, 56), (32, 64), (48, 48), (128, 128)])
def test_small_images_are_enlarged_until_they_can_be_seen(size: int, shown: int) -> None:
    assert grid(torch.zeros(1, 1, size, size), padding=0).size == (shown, shown)


def test_one_image_for_other_tools_is_as_it_is() -> None:
    image = torch.tensor([-1.0, 0.0, 1.0, 0.5]).view(1, 1, 2, 2)
    assert pixels(grid(image, columns=0))[:, :, 0].tolist() == [[0, 128], [255, 191]]
    with pytest.raises(GancoreError, match="columns"):
        grid(image.repeat(2, 1, 1, 1), columns=0)


def test_a_huge_grid_is_not_enlarged() -> None:
    assert grid(torch.zeros(1, 1, 1, 1).expand(40_000, 1, 1, 1), padding=0).size == (200, 200)


def test_a_grid_is_about_square_unless_columns_are_given() -> None:
    images = torch.zeros(10, 1, 48, 48)
    assert grid(images, padding=0).size == (4 * 48, 3 * 48)
    assert grid(images, columns=5, padding=0).size == (5 * 48, 2 * 48)
    assert grid(images, columns=99, padding=0).size == (10 * 48, 48)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_image_that_is_not_finite_is_marked_and_the_others_are_as_ever(value: float) -> None:
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    sound = pixels(grid(images, columns=3, padding=0, scale=1))
    images[1, 2, 5, 5] = value
    shown = pixels(grid(images, columns=3, padding=0, scale=1))
    assert (shown[:, :16] == sound[:, :16]).all()
    assert (shown[:, 32:] == sound[:, 32:]).all()
    assert len(np.unique(shown[:, 16:32].reshape(-1, 3), axis=0)) == 2


def test_images_are_left_as_they_were_and_may_need_a_gradient() -> None:
    images = torch.full((2, 1, 8, 8), 3.0, requires_grad=True)
    grid(images)
    assert (images == 3.0).all()


def test_points_in_the_plane_become_a_scatter_plot() -> None:
    points = torch.tensor([[0.5, 0.5], [-0.5, -0.5]])
    picture = grid(points[:, :, None, None])
    assert pixels(picture).tolist() == pixels(scatter(points)).tolist()


def test_a_point_lies_where_its_coordinates_say() -> None:
    shown = pixels(scatter(torch.tensor([[0.55, 0.55]]), size=400)).astype(int)
    blue = np.argwhere(shown[..., 2] - shown[..., 0] > 60)
    # From -1.1 to 1.1 within margins of 4.5 %: three quarters from the left, one quarter from the top.
    margin, side = 0.045 * 400, 0.91 * 400
    assert blue.mean(0) == pytest.approx([margin + side / 4, margin + side * 3 / 4], abs=1.0)


def test_points_beyond_the_axes_are_drawn_at_the_edge_in_another_color() -> None:
    shown = pixels(scatter(torch.tensor([[50.0, 0.3]]), size=400)).astype(int)
    orange = np.argwhere(shown[..., 0] - shown[..., 2] > 60)
    assert orange[:, 1].mean() == pytest.approx(0.955 * 400, abs=3)


def test_points_that_are_not_finite_are_counted() -> None:
    sound = torch.zeros(3, 2)
    lost = torch.cat([sound, torch.tensor([[math.nan, 0.0]])])
    assert (pixels(scatter(sound)) != pixels(scatter(lost))).any()


def test_a_saved_grid_reads_back_as_it_was_and_leaves_nothing_else(tmp_path: Path) -> None:
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    path = tmp_path / "new" / "00000001.png"
    save_png(images, path, columns=3)
    with Image.open(path) as picture:
        assert (pixels(picture) == pixels(grid(images, columns=3))).all()
    assert [file.name for file in path.parent.iterdir()] == ["00000001.png"]


def test_a_grid_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(GancoreError, match=r"taken can't be written: .*; choose another file"):
        save_png(torch.zeros(1, 1, 4, 4), tmp_path / "taken")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 1, 8, 8), (2, 3, 0, 8)])
def test_a_tensor_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GancoreError, match=r"needs images of shape \(N, C, H, W\)"):
        grid(torch.zeros(shape))


@pytest.mark.parametrize("settings", [{"columns": -1}, {"padding": -1}, {"scale": 0}])
def test_a_number_out_of_range_is_named(settings: dict[str, int]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(GancoreError, match=f"{name} of a picture must be . or more, and {value} is not"):
        grid(torch.zeros(1, 1, 4, 4), **settings)


def test_a_scatter_plot_refuses_other_shapes_and_limits() -> None:
    with pytest.raises(GancoreError, match=r"points of shape \(N, 2\), and got \(3, 3\)"):
        scatter(torch.zeros(3, 3))
    with pytest.raises(GancoreError, match="limit of a scatter plot must be above 0"):
        scatter(torch.zeros(3, 2), limit=0.0)
