"""Walks stay within the latents' distribution and end where they began, what is embedded of classes is mixed, files hold it."""

from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import gancore_training
import pytest
import torch
from click.testing import CliRunner
from gancore_export import Walk, walk, write_animation
from gancore_export.class_paths import MixedClasses
from gancore_export.commands import walk as command
from gancore_export.noise_paths import Path as Places
from gancore_export.noise_paths import distribution, latents_along, spherical
from gancore_standard.latents import Mixture, Normal, Uniform
from gancore_standard.tools import grid
from PIL import Image
from torch import Tensor, nn

from gancore import GancoreError, Latent, Latents
from gancore.tools import noise_for, to_uint8, to_unit

from .conftest import UNCONDITIONAL, Trained


def noise() -> torch.Generator:
    return noise_for("cpu", 0, "test")


def halfway(ends: int) -> Places:
    """Places between each end and the next, a fifth and a half of the way, and the ends themselves."""
    start = torch.arange(ends).repeat_interleave(3)
    return Places(ends, start, (start + 1) % ends, torch.tensor([0.0, 0.2, 0.5]).repeat(ends))


# -- between latents ---------------------------------------------------------------------------------------------------


def test_unit_vectors_stay_unit_vectors() -> None:
    ends = torch.nn.functional.normalize(torch.randn(2, 500, 7, generator=noise()), dim=2)
    between = spherical(ends[0], ends[1], torch.rand(500, generator=noise()))
    torch.testing.assert_close(between.norm(dim=1), torch.ones(500))


def test_the_way_is_a_great_circle() -> None:
    share = torch.linspace(0, 1, 9)
    between = spherical(torch.tensor([[2.0, 0, 0]]).expand(9, 3), torch.tensor([[0, 2.0, 0]]).expand(9, 3), share)
    angle = share * torch.pi / 2
    torch.testing.assert_close(between, 2 * torch.stack([angle.cos(), angle.sin(), torch.zeros(9)], 1))
    longer = spherical(torch.tensor([[1.0, 0]]), torch.tensor([[0, 3.0]]), torch.tensor([0.5]))
    torch.testing.assert_close(longer.norm(dim=1), torch.tensor([2.0]))


@pytest.mark.parametrize("two", [[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]])
def test_ends_that_name_no_circle_are_gone_between_plainly(two: list[float]) -> None:
    between = spherical(torch.tensor([[1.0, 2.0]] * 3), torch.tensor([two] * 3), torch.tensor([0.0, 0.5, 1.0]))
    assert bool(between.isfinite().all())
    assert between[0].tolist() == [1, 2]
    assert between[2].tolist() == two


@pytest.mark.parametrize("latent", [Normal(latent_dim=3), Uniform(latent_dim=3)])
def test_each_place_of_a_way_is_a_draw_of_the_latents_distribution(latent: Latent) -> None:
    places = halfway(20_000)
    own, along = latent.draw(20_000, noise()).z, latents_along(latent, places, noise()).z
    assert torch.equal(along[::3], own)
    for share in (1, 2):
        z = along[share::3]
        # Normal norms are interpolated in proportion, which draws them together a little.
        torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.03, rtol=0)
        torch.testing.assert_close(z.std(0), own.std(0), atol=0.12, rtol=0)
    if isinstance(latent, Uniform):
        assert float(along.abs().max()) <= 1
        quarters = torch.histc(along[1::3], 4, -1, 1) / (3 * 20_000)
        torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_what_is_no_number_is_that_of_the_nearer_end() -> None:
    latent, places = Mixture(latent_dim=3, components=4), halfway(50)
    along, ends = latents_along(latent, places, noise()), latent.draw(50, noise())
    component = ends.codes["component"]
    assert torch.equal(along.codes["component"], component[torch.where(places.share < 0.5, places.start, places.stop)])
    around = (along.z - latent.means[along.codes["component"]]) / latent.deviation
    own = (ends.z - latent.means[component]) / latent.deviation
    torch.testing.assert_close(around, spherical(own[places.start], own[places.stop], places.share), atol=1e-4, rtol=1e-4)


def test_what_latents_are_drawn_from_is_measured() -> None:
    class Shifted(Normal):
        def draw(self, number: int, noise: torch.Generator) -> Latents:
            return Latents(super().draw(number, noise).z + 1)

    kinds = {Normal: "normal", Uniform: "uniform", Mixture: "other", Shifted: "other"}
    assert {cls: distribution(cls(latent_dim=2), noise()) for cls in kinds} == kinds


def test_latents_without_a_way_between_them_are_refused() -> None:
    class Once(Latent):
        def draw(self, number: int, noise: torch.Generator) -> Latents:
            return Latents(torch.stack([torch.randn(3, generator=noise) for _ in range(number)]))

    with pytest.raises(GancoreError, match="can't be walked through: it draws other than rows of noise, one a sample"):
        latents_along(Once(), halfway(4), noise())


# -- between classes ---------------------------------------------------------------------------------------------------


def test_between_classes_what_is_embedded_is_mixed(trained: Trained) -> None:
    run = trained()
    drawn = run.latent(4, "test")
    label, other, share = torch.tensor([3, 3, 3, 3]), torch.tensor([7, 7, 7, 3]), torch.tensor([0.0, 1.0, 0.25, 0.5])
    with MixedClasses(label, other, share) as mixing:
        images = run.generate(Latents(drawn.z, label))
    assert mixing.mixed
    network = copy.deepcopy(run.generator())
    with torch.no_grad():
        for table in (module for module in network.modules() if isinstance(module, nn.Embedding)):
            table.weight[0] = 0.75 * table.weight[3] + 0.25 * table.weight[7]
        by_hand = network.eval()(drawn.z, torch.tensor([3, 7, 0, 3]))
    torch.testing.assert_close(images, by_hand)


@pytest.mark.parametrize(
    "look_up",
    [
        lambda label, table: nn.functional.one_hot(label, 4).float() @ table,
        lambda label, table: table[label],
        lambda label, table: torch.nn.functional.embedding(input=label, weight=table),
    ],
)
def test_other_ways_to_look_a_class_up_are_mixed_too(look_up: Any) -> None:
    table = torch.eye(4)
    with MixedClasses(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([0.25, 1.0])):
        assert look_up(torch.tensor([0, 1]), table).tolist() == [[0.75, 0, 0.25, 0], [0, 0, 0, 1]]


def test_classes_that_are_not_looked_up_are_not_gone_through(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    class Comparing(nn.Module):
        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            return z[:, :1, None, None] * (label % 2 == 0)[:, None, None, None]

    run = trained()
    network = Comparing()
    monkeypatch.setattr(run, "generator", lambda *_: network)
    with pytest.raises(GancoreError, match="does not look its classes up in an embedding, so there is nothing between two"):
        walk(run, Walk(tiles=1, through_classes=True, classes=[3, 4]))


# -- walks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through_classes", [False, True])
def test_a_walk_ends_where_it_began(trained: Trained, through_classes: bool) -> None:
    frames = walk(trained(), Walk(tiles=3, stops=3, frames=4, through_classes=through_classes))
    assert frames.shape == (13, 3, 1, 8, 8)
    assert frames.dtype == torch.uint8
    assert torch.equal(frames[0], frames[-1])
    assert not torch.equal(frames[0], frames[4])
    assert len({frame.numpy().tobytes() for frame in frames[:-1]}) == 12


def test_a_walk_comes_by_its_stops(trained: Trained) -> None:
    run = trained()
    how = Walk(tiles=2, stops=3, frames=4, classes=[3, 5], seed=1, loop=False)
    frames = walk(run, how)
    assert len(frames) == how.length == 9
    assert run.prior is not None
    z = run.prior.draw(6, noise_for("cpu", run.seed, "walk", 1)).z
    ends = run.generate(Latents(z, torch.tensor([3, 3, 3, 5, 5, 5]))).view(2, 3, 1, 8, 8).transpose(0, 1)
    assert torch.equal(frames[::4], to_uint8(ends))
    assert not torch.equal(frames, walk(run, Walk(tiles=2, stops=3, frames=4, classes=[3, 5], seed=2, loop=False)))


def test_through_classes_each_stop_has_the_next_class(trained: Trained) -> None:
    run = trained()
    frames = walk(run, Walk(tiles=2, stops=2, frames=3, classes=[3, 5], through_classes=True))
    assert run.prior is not None
    z = run.prior.draw(4, noise_for("cpu", run.seed, "walk", 0)).z
    ends = run.generate(Latents(z, torch.tensor([3, 5, 5, 3]))).view(2, 2, 1, 8, 8).transpose(0, 1)
    assert torch.equal(frames[:6:3], to_uint8(ends))


def test_classes_without_effect_are_refused(trained: Trained) -> None:
    run = trained(UNCONDITIONAL)
    assert len(walk(run, Walk(tiles=1, stops=2, frames=2))) == 5
    with pytest.raises(GancoreError, match="heeds no labels, so there is no way from class to class"):
        walk(run, Walk(through_classes=True))
    with pytest.raises(GancoreError, match="heeds no labels, so no class can be asked for"):
        walk(run, Walk(classes=[1]))
    with pytest.raises(GancoreError, match="there is no class 10"):
        walk(trained(), Walk(classes=[10]))


# -- files -------------------------------------------------------------------------------------------------------------


def invoke(*words: object) -> str:
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_gif_holds_the_frames_and_goes_round(trained: Trained, tmp_path: Path) -> None:
    run, path = trained(), tmp_path / "new" / "x.gif"
    words = (run.folder, "--out", path, "--n", 4, "--stops", 2, "--frames", 3, "--rate", 10)
    assert invoke(*words, "--at", 2) == f"A walk of 7 frames, by the generator of iteration 2, is in {path}\n"
    assert invoke(*words).endswith(f"iteration 4, is in {path}, in place of what was there\n")
    frames = walk(run, Walk(tiles=4, stops=2, frames=3))
    with Image.open(path) as animation:
        assert (animation.format, animation.n_frames, animation.info["loop"]) == ("GIF", 6, 0)
        for place in range(6):
            animation.seek(place)
            assert animation.info["duration"] == 100
            pictures = (animation.convert("RGB"), grid(to_unit(frames[place])))
            shown, due = (torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).float() for picture in pictures)
            assert float((shown - due).abs().mean()) < 4  # a palette of 256 colors
    write_animation(frames, path, loop=False)
    with Image.open(path) as animation:
        assert animation.n_frames == 7


FFMPEG = """#!/bin/sh
echo "$@" > "{folder}/asked"
[ -f "{folder}/fail" ] && {{ echo "no such codec" >&2; exit 3; }}
for target; do :; done
cat > "$target"
"""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which what stands in for ffmpeg keeps what it is asked and given."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path


def test_an_mp4_is_written_by_ffmpeg(trained: Trained, ffmpeg: Path) -> None:
    frames = walk(trained(), Walk(tiles=1, stops=2, frames=2))
    write_animation(frames, ffmpeg / "x.mp4", rate=30)
    pictures = [grid(to_unit(frame)) for frame in frames]
    assert (ffmpeg / "x.mp4").read_bytes() == b"".join(picture.tobytes() for picture in pictures)
    width, height = pictures[0].size
    assert f"-pix_fmt rgb24 -s {width}x{height} -r 30 -i pipe:0" in (ffmpeg / "asked").read_text()


def test_where_ffmpeg_fails_nothing_is_written(trained: Trained, ffmpeg: Path) -> None:
    (ffmpeg / "fail").touch()
    with pytest.raises(GancoreError, match=r"x\.mp4 can't be written: ffmpeg fails \(no such codec ?\); write a \.gif"):
        write_animation(walk(trained(), Walk(tiles=1, stops=2, frames=2)), ffmpeg / "x.mp4")
    assert not (ffmpeg / "x.mp4").exists()


def test_other_files_are_refused_first(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gancore_training, "open_run", None)  # nothing is opened
    for name, sentence in (
        ("x.mp4", "needs the program ffmpeg, which is not installed; install it, or write a .gif."),
        ("x.avi", "can't be written: end its name in one of these: .gif, .mp4."),
    ):
        with pytest.raises(GancoreError) as refused:
            invoke(trained().folder, "--out", tmp_path / name)
        assert sentence in str(refused.value)
