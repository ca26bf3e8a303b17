"""Exports are the generator, need nothing of gancore, and say what they are; what can't be exported leaves nothing behind."""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gancore_export import export
from gancore_export.commands import export as command
from gancore_export.exporting import Exported
from gancore_export.model_card import escaped, fenced, model_card, without_places
from gancore_export.programs import Program
from gancore_training import RunFolder
from PIL import Image
from torch import Tensor, nn

from gancore import GancoreError, Latents
from gancore.tools import read_tensors, to_uint8, write_tensors

from .conftest import UNCONDITIONAL, Trained

BLOCKED = """
import io, json, runpy, sys
from contextlib import redirect_stderr, redirect_stdout
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        absent = name.split(".")[0].startswith(("gancore", "numpy", "PIL", "safetensors", "torchvision", "click", "attr"))
        return None if absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
done, script, asked = [], sys.argv[1], json.loads(sys.argv[2])
for words in asked:
    sys.argv, said, code = [script, *words], io.StringIO(), 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as error:
            code = error.code
    done.append([code, said.getvalue()])
print(json.dumps(done))
"""


def alone(folder: Path, *asked: list[str]) -> list[list[Any]]:
    """Call an export's script where torch is all that it can import, and return its exit statuses and what it says."""
    command = [sys.executable, "-W", "ignore", "-c", BLOCKED, str(folder / "generate.py"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[list[Any]] = json.loads(done.stdout)
    return answers


def script(folder: Path, *words: object, code: int = 0) -> str:
    """Call an export's script here, and return what it says."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", [str(folder / "generate.py"), *map(str, words)])
        try:
            runpy.run_path(str(folder / "generate.py"), run_name="__main__")
            ended: Any = 0
        except SystemExit as error:
            ended = error.code
    assert ended == code, said.getvalue()
    return said.getvalue()


def script_of(folder: Path) -> Any:
    """Return an export's script as a module."""
    spec = importlib.util.spec_from_file_location("generate", folder / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(trained(), tmp_path_factory.mktemp("exports") / "new" / "generator")


def test_an_export_holds_the_generator_and_all_that_it_needs(exported: Exported, trained: Trained) -> None:
    files = {"README.md", "check.safetensors", "generate.py", "generator.json", "generator.pt2", "generator.safetensors"}
    assert {*exported.files} - {"generator.onnx"} == files | {"recipe.toml", "samples.png"}
    assert exported.differences["torch.export"] <= 1e-4
    assert exported.latents == "normal"
    tensors, header = read_tensors(exported.folder / "generator.safetensors", sealed=True)
    own = trained().generator().state_dict()
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], own[name]) for name in own)
    assert header["network"] == "standard/sndcgan-generator"


@pytest.mark.parametrize("number", [1, 5, 64])
def test_the_program_generates_what_gancore_does_for_any_number_of_images(
    exported: Exported, trained: Trained, number: int
) -> None:
    run = trained()
    drawn = run.latent(number, "test")
    program = torch.export.load(str(exported.folder / "generator.pt2")).module()
    torch.testing.assert_close(program(drawn.z, drawn.label), run.generate(drawn), atol=1e-4, rtol=0)


def test_the_script_needs_torch_alone(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    grid, arrays_of = tmp_path / "x.png", tmp_path / "x.npz"
    checked, written, drawn = alone(
        exported.folder,
        ["--check"],
        ["--n", "7", "--classes", "3,5", "--seed", "4", "--out", str(arrays_of)],
        ["--n", "5", "--out", str(grid)],
    )
    assert checked[0] == 0
    assert re.fullmatch(r"largest difference from gancore's images: \d\.\d+e[-+]\d+\n", checked[1])
    assert [written, drawn] == [[0, f"7 images are in {arrays_of}\n"], [0, f"5 images are in {grid}\n"]]
    # The layout of ADM, and gancore's images.
    with np.load(arrays_of) as arrays:
        images, labels = arrays["arr_0"], arrays["arr_1"]
    assert (images.shape, images.dtype, labels.dtype) == ((7, 8, 8, 1), np.uint8, np.int64)
    assert labels.tolist() == [3, 5, 3, 5, 3, 5, 3]
    z = torch.randn((7, 6), generator=torch.Generator().manual_seed(4))
    own = to_uint8(trained().generate(Latents(z, torch.from_numpy(labels)))).permute(0, 2, 3, 1)
    assert int((own.int() - torch.from_numpy(images).int()).abs().max()) <= 1
    with Image.open(grid) as picture:
        picture.load()
        assert (picture.mode, picture.size) == ("RGB", (152, 102))
        assert picture.getpixel((0, 0)) == (150, 150, 150)


def test_the_script_refuses_what_it_cannot_do(exported: Exported, tmp_path: Path) -> None:
    assert "--out end in .png or .npz" in script(exported.folder, "--out", tmp_path / "x.bmp", code=2)
    assert "can't be asked for these classes" in script(exported.folder, "--classes", "10", code=2)
    for file in exported.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    other = bytearray((tmp_path / "check.safetensors").read_bytes())
    other[-1] ^= 0x40
    (tmp_path / "check.safetensors").write_bytes(other)
    script(tmp_path, "--check", code=1)


def test_a_generator_that_heeds_no_label_takes_latents_alone(trained: Trained, tmp_path: Path) -> None:
    run = trained(UNCONDITIONAL)
    export(run, tmp_path / "x")
    program = torch.export.load(str(tmp_path / "x" / "generator.pt2")).module()
    drawn = run.latent(3, "test")
    torch.testing.assert_close(program(drawn.z), run.generate(drawn), atol=1e-4, rtol=0)
    script(tmp_path / "x", "--n", 3, "--out", tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        assert list(arrays) == ["arr_0"]
    assert "classes" in script(tmp_path / "x", "--classes", "1", code=2)


@pytest.mark.parametrize(
    ("latent", "kind"),
    [
        ({"use": "standard/uniform"}, "uniform"),
        ({"use": "standard/mixture", "components": 3}, "stored"),
        ({"use": "standard/normal", "labels": "data"}, "normal"),
    ],
)
def test_latents_are_drawn_as_in_training(
    trained: Trained, tmp_path: Path, latent: dict[str, Any], kind: Literal["uniform", "stored", "normal"]
) -> None:
    run = trained({"latent": latent})
    assert export(run, tmp_path / "x").latents == kind
    z, label = script_of(tmp_path / "x").draw(json.loads((tmp_path / "x" / "generator.json").read_text()), 3000, [], 0)
    own = run.latent(3000, "test").z
    torch.testing.assert_close(z.mean(0), own.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), own.std(0), atol=0.1, rtol=0)
    assert label[:12].tolist() == [*range(10), 0, 1]
    if kind == "uniform":
        assert float(z.abs().max()) <= 1


def test_attributes_that_latents_come_with_are_distributed_as_these_have_them(tmp_path: Path) -> None:
    source = Path(inspect.getsourcefile(export) or "").with_name("generate.py")
    (tmp_path / "generate.py").write_text(source.read_text())
    # A causal model whose attributes agree three times of four, over data in which each combination is there.
    label = torch.tensor([[0, 0], [1, 1], [1, 1], [0, 1]])
    write_tensors(tmp_path / "latents.safetensors", {"z": label.float(), "label": label}, {})
    values = [[0, 0], [0, 1], [1, 0], [1, 1]]
    about = {"title": "x", "latents": "stored", "latent_dim": 2, "image": [1, 8, 8], "group": 1, "classes": ["a", "b"]}
    about["labels"] = {"heeded": True, "any": True, "values": values, "weights": [1.0] * 4}
    z, drawn = script_of(tmp_path).draw(about, 4000, [], 0)
    assert torch.equal(z, drawn.float())
    assert float((drawn[:, 0] == drawn[:, 1]).double().mean()) == pytest.approx(0.75, abs=0.03)
    assert not bool(((drawn[:, 0] == 1) & (drawn[:, 1] == 0)).any())
    (tmp_path / "generator.json").write_text(json.dumps(about))
    assert "can't be asked for these classes" in script(tmp_path, "--classes", "1", code=2)


def test_the_card_gives_a_program_of_attributes_rows_of_them(trained: Trained) -> None:
    labels = {"heeded": True, "any": True, "values": [[0, 1], [1, 1]]}
    about = {"title": "x", "latents": "normal", "latent_dim": 6, "image": [1, 8, 8], "classes": ["a", "b"], "labels": labels}
    card = model_card(trained(), about, ["generator.pt2"], {}, "ema")
    assert "images = generator(torch.randn(16, 6), torch.randint(2, (16, 2)))" in card


def test_points_in_the_plane_are_exported(trained: Trained, tmp_path: Path) -> None:
    plane = {
        "data": {"use": "standard/gaussian-ring"},
        "networks": {
            "generator": {"use": "standard/mlp-generator", "hidden": 8},
            "discriminator": {"use": "standard/mlp-discriminator", "hidden": 8},
        },
        "heads": {"adversarial": {"use": "standard/linear"}},
    }
    export(trained(plane), tmp_path / "x")
    assert "end in .npz" in script(tmp_path / "x", "--out", tmp_path / "x.png", code=2)
    assert "largest difference" in script(tmp_path / "x", "--check")


def test_the_newest_scores_of_the_iteration_are_on_the_card_with_their_protocols(trained: Trained, tmp_path: Path) -> None:
    run = trained()
    assert run.folder is not None
    folder = RunFolder(run.folder)
    entry = {"iteration": 4, "better": {"fid/fid": "lower"}, "protocols": {"fid": {"id": "abcd", "samples": 100}}}
    for iteration, value in ((4, 7.0), (4, 6.5), (2, 1.0)):
        folder.append(folder.scores, {**entry, "iteration": iteration, "scores": {"fid/fid": value, "fid/list": [1, 2]}})
    folder.append(folder.scores, {"iteration": 4, "scores": 3})
    try:
        export(run, tmp_path / "x")
    finally:
        folder.scores.unlink()
    card = (tmp_path / "x" / "README.md").read_text()
    assert "| fid/fid | 6.5 | lower | abcd |" in card
    assert '{"abcd": {"id": "abcd", "samples": 100}}' in card
    assert "[arXiv:1406.2661](https://arxiv.org/abs/1406.2661)" in card
    assert "License of the images: CC BY 4.0 " in card
    assert "\n# tiny\n" in card
    assert "for 4 iterations; these are its ema weights" in card
    assert "python generate.py --n 64 --out images.png" in card


def test_what_a_stranger_wrote_is_text_on_the_card() -> None:
    assert escaped("<script>`x` [a](b)\n| # \x1b[2J") == r"\<script\>\`x\` \[a\]\(b\) \| \# ?\[2J"
    assert fenced("a\n```\n````b").splitlines()[0] == "`````"


def test_places_of_the_machine_stay_there() -> None:
    table = {"data": {"path": "/home/me/secret/cats", "use": "standard/image-folder", "n": 3}, "x": ["~/y", "C:\\me\\z"]}
    assert without_places(table) == {"data": {"path": "cats", "use": "standard/image-folder", "n": 3}, "x": ["y", "z"]}


class Branching(nn.Module):
    """A generator whose way depends on its latents' values, which no program of theirs can hold."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z[:, :1, None, None] if bool((z.sum() > 0).item()) else -z[:, :1, None, None]


def test_what_cannot_be_exported_leaves_nothing(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained()
    monkeypatch.setattr(run, "generator", lambda *_: Branching())
    with pytest.raises(GancoreError, match=r"^the generator can't be exported by torch\.export \("):
        export(run, tmp_path / "deep" / "x")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_program_that_generates_other_images_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(UNCONDITIONAL)
    load = torch.export.load

    class Other:
        def __init__(self, path: str) -> None:
            self.program = load(path).module()

        def module(self) -> Any:
            return lambda *arguments: self.program(*arguments) + 2e-4

    monkeypatch.setattr(torch.export, "load", Other)
    with pytest.raises(GancoreError, match=r"torch\.export generates other images, by up to 0\.0002 where 0\.0001 is allowed"):
        export(run, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_needs_a_label_is_given_one() -> None:
    class Needing(nn.Module):
        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            return z * torch.ones_like(label)[:, None]  # the same for all, and nothing without

    assert Program(Needing(), torch.randn(10, 2), torch.arange(10)).heeds_labels


def test_other_files_are_not_written_over(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path, tmp_path / "mine", tmp_path / "link"):
        with pytest.raises(GancoreError, match="holds other files; choose another --out, a new folder"):
            export(trained(), folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine"]
    (tmp_path / "empty").mkdir()
    assert export(trained(), tmp_path / "empty").folder == tmp_path / "empty"


def test_onnx_generates_the_same_images(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    assert export(trained(), tmp_path / "x").differences["ONNX"] <= 1e-4
    assert (tmp_path / "x" / "generator.onnx").stat().st_size > 1000


def test_without_onnx_the_export_says_so(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gancore_export.exporting.lacking_for_onnx", lambda: ["onnx"])
    written = export(trained(), tmp_path / "x")
    assert written.without == "without ONNX, which needs onnx: pip install 'gancore-plugin-export[onnx]'"
    assert "ONNX" not in written.differences
    assert "generator.onnx" not in (tmp_path / "x" / "README.md").read_text()


STUB = """
from pathlib import Path
class HfApi:
    def create_repo(self, repo_id, *, private, exist_ok):
        if repo_id == "me/closed":
            raise ConnectionError("no way to the hub\\nand more")
        Path("asked").write_text(f"{repo_id} {private} {exist_ok}")
        return f"https://hub.example/{repo_id}"
    def upload_folder(self, *, repo_id, folder_path, commit_message):
        Path("uploaded").write_text(" ".join(sorted(path.name for path in Path(folder_path).iterdir())))
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, where a hub that keeps what it is asked can be imported."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "huggingface_hub.py").write_text(STUB)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    # Set first, so that afterwards it is gone again where it had not been imported.
    monkeypatch.setitem(sys.modules, "huggingface_hub", sys)
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_export_is_uploaded(hub: Path, trained: Trained) -> None:
    words = [str(trained().folder), "--out", "x", "--to-hub", "me/digits", "--private", "--at", "2"]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "torch.export: images differ from gancore's by at most " in done.output
    assert "The generator of iteration 2 is in x. To use it: python x/generate.py\n" in done.output
    assert done.output.endswith("It is at https://hub.example/me/digits too.\n")
    assert (hub / "asked").read_text() == "me/digits True True"
    assert (hub / "uploaded").read_text() == " ".join(sorted(path.name for path in (hub / "x").iterdir()))


def refused(*words: object) -> str:
    with pytest.raises(GancoreError) as error:
        CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    return str(error.value)


def test_a_hub_that_refuses_loses_no_export(hub: Path, trained: Trained) -> None:
    said = refused(trained().folder, "--out", "x", "--to-hub", "me/closed")
    assert "x can't be uploaded to 'me/closed' (ConnectionError: no way to the hub); the export itself is there" in said
    assert (hub / "x" / "generator.pt2").exists()


def test_without_the_library_an_upload_is_refused_first(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "huggingface_hub" else find(name))
    said = refused(trained().folder, "--out", tmp_path / "x", "--to-hub", "me/digits")
    assert said == "--to-hub needs huggingface_hub; install it by: pip install 'gancore-plugin-export[hub]'"
    assert "--private is about what --to-hub makes" in refused(trained().folder, "--out", tmp_path / "x", "--private")
    assert not (tmp_path / "x").exists()
