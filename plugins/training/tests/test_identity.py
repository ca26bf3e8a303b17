"""What makes a run the same run: longer, elsewhere, scored otherwise; and what is another one, and said so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import checkpoint
from gancore_training.changes import only_scored
from gancore_training.identity import identity, recipe_digest
from gancore_training.sampling import sample
from gancore_training.trainer import open_run, train
from torch import Tensor

from gancore import GancoreError
from gancore.contract.data import Dataset, DatasetInfo
from gancore.contract.running import Loop
from gancore.engine.run import Run
from gancore.files import toml, write_tensors
from gancore.plan import make_plan
from gancore.recipe import merge
from gancore.recipe.recipe import check_table
from plugins.training.tests.test_trainer import METRIC, Watcher, lines, recipe_of, trained
from tests.hosts import BALANCE, CPU, GAME, registry, run_of, same

LONGER: dict[str, Any] = {"run": {"iterations": 16}}


def resumed(out: Path, *tables: dict[str, Any], changed: bool = False) -> tuple[Run, list[str]]:
    """Go on with a run; return it, and what it told."""
    watcher = Watcher()
    run = train(recipe_of(*tables), registry(), out, device=CPU, resume=True, changed=changed, progress=watcher)
    return run, watcher.told


def history(out: Path) -> Any:
    return json.loads((out / "environment.json").read_text()).get("history")


def test_a_finished_run_that_is_trained_longer_equals_one_of_that_length(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    moved = tmp_path / "elsewhere, größer" / "run"
    moved.parent.mkdir()
    (tmp_path / "run").rename(moved)
    longer, told = resumed(moved, LONGER)
    assert same(longer, trained(tmp_path / "whole", LONGER)) == []
    losses = [
        [(entry["iteration"], entry["losses"]) for entry in lines(out / "log.jsonl")] for out in (moved, tmp_path / "whole")
    ]
    assert losses[0] == losses[1]
    assert "since iteration 8 run.iterations was 8 and is 16 (environment.json keeps it)" in told
    assert history(moved) == [{"iteration": 8, "changed": {"run.iterations": [8, 16]}}]
    with pytest.raises(GancoreError, match=r"run is trained for 16 iterations already; ask for more"):
        resumed(moved)


SCHEDULE: dict[str, Any] = {"optimizers": {"generator": {"schedule": {"use": "standard/cosine"}}}}


def test_a_length_that_a_component_reads_is_a_part_of_the_run(tmp_path: Path) -> None:
    trained(tmp_path / "run", SCHEDULE)
    with pytest.raises(GancoreError, match=r"run.iterations was 8 and is 16 .*optimizers.generator.schedule.*reads it") as told:
        resumed(tmp_path / "run", SCHEDULE, LONGER)
    assert "--changed" in str(told.value)
    assert len(str(told.value).replace(str(tmp_path), "")) <= 400
    run, _ = resumed(tmp_path / "run", SCHEDULE, LONGER, changed=True)
    assert run.iteration == 16
    own: dict[str, Any] = {"optimizers": {"generator": {"schedule": {"use": "standard/cosine", "iterations": 4}}}}
    trained(tmp_path / "own", own)
    assert resumed(tmp_path / "own", own, LONGER)[0].iteration == 16


FREE_TO_CHANGE: dict[str, dict[str, Any]] = {
    "what is written": {"run": {"log_every": 1, "sample_every": 3, "checkpoint_every": 3, "keep_checkpoints": 0}},
    "what is scored": {**METRIC, "evaluation": {"samples": 20}, "run": {"evaluate_every": 5}},
    "texts": {"summary": "Another"},
    "a default that is said": {"run": {"seed": 0}},
}


@pytest.mark.parametrize("what", FREE_TO_CHANGE)
def test_what_decides_no_weights_may_change(tmp_path: Path, what: str) -> None:
    trained(tmp_path / "run")
    longer, _ = resumed(tmp_path / "run", LONGER, FREE_TO_CHANGE[what])
    assert same(longer, trained(tmp_path / "whole", LONGER)) == []
    assert (tmp_path / "run" / "scores.jsonl").exists() == (what == "what is scored")


ANOTHER: dict[str, tuple[dict[str, Any], str]] = {
    "a seed": ({"run": {"seed": 3}}, "run.seed was 0 and is 3"),
    "a batch": ({"run": {"batch_size": 3}}, "run.batch_size"),
    "a loss": ({"losses": {"adversarial": {"use": "standard/minimax"}}}, "losses.adversarial.use"),
    "an optimizer": ({"optimizers": {"generator": {"use": "sgd"}}}, "optimizers.generator.use"),
    "an augmentation": ({"data": {"flip": True}}, "data.flip was absent and is True"),
    "a network that nothing scores": ({"networks": {"other": {"use": "host/classifier"}}}, "networks.other.use"),
}


@pytest.mark.parametrize("what", ANOTHER)
def test_what_decides_the_weights_is_another_run(tmp_path: Path, what: str) -> None:
    table, text = ANOTHER[what]
    trained(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for changed in (False, True):
        with pytest.raises(GancoreError, match=f"was trained by another recipe, so it can't be resumed: .*{text}") as told:
            resumed(tmp_path / "run", table, changed=changed)
        assert "--changed" not in str(told.value)
        assert "\n" not in str(told.value)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_learning_rate_is_lowered_when_that_is_asked_for_and_recorded(tmp_path: Path) -> None:
    lower: dict[str, Any] = {"optimizers": {"generator": {"lr": 1e-5}}, **LONGER}
    start = trained(tmp_path / "run")
    with pytest.raises(GancoreError, match=r"optimizers.generator.lr was .* and is 1e-05; go on so, .*--resume --changed"):
        resumed(tmp_path / "run", lower)
    run, told = resumed(tmp_path / "run", lower, changed=True)
    assert run.iteration == 16
    assert run.players["generator"].optimizer.param_groups[0]["lr"] == 1e-5
    assert any("optimizers.generator.lr was" in text and "and is 1e-05" in text for text in told)
    assert history(tmp_path / "run")[0]["changed"]["optimizers.generator.lr"][1] == 1e-5
    assert same(start, run) != []
    # From then on it is the run's own.
    assert resumed(tmp_path / "run", lower)[0].iteration == 16


def test_another_precision_is_refused_or_asked_for(tmp_path: Path) -> None:
    trained(tmp_path / "run", {"run": {"precision": "float32"}})
    assert resumed(tmp_path / "run", {"run": {"precision": "auto"}})[0].precision == "float32"
    with pytest.raises(GancoreError, match=r"was computed in float32; leave out run.precision, or .*--changed"):
        resumed(tmp_path / "run", {"run": {"precision": "bfloat16"}})
    run, _ = resumed(tmp_path / "run", LONGER, {"run": {"precision": "bfloat16"}}, changed=True)
    assert run.precision == "bfloat16"
    assert history(tmp_path / "run")[-1]["changed"]["precision"] == ["float32", "bfloat16"]


@pytest.mark.parametrize("key", ["gancore", "torch", "python", "device", "threads"])
def test_what_a_run_is_computed_with_is_told_and_kept(tmp_path: Path, key: str) -> None:
    out = tmp_path / "run"
    trained(out)
    record = json.loads((out / "environment.json").read_text())
    now = record[key]
    (out / "environment.json").write_text(json.dumps({**record, key: "0.0.9"}))
    _, told = resumed(out)
    assert f"since iteration 8 {key} was 0.0.9 and is {now} (environment.json keeps it)" in told
    assert not any("since iteration" in text for text in resumed(out)[1])
    assert history(out) == [{"iteration": 8, "changed": {key: ["0.0.9", now]}}]


def test_a_plugins_version_is_told_too(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "environment.json").read_text())
    (name, *_) = record["plugins"]
    record["plugins"][name] = "0.0.1"
    (tmp_path / "run" / "environment.json").write_text(json.dumps(record))
    assert any(f"plugins.{name} was 0.0.1 and is" in text for text in resumed(tmp_path / "run")[1])


@pytest.mark.parametrize("text", ["[1]", "{", '{"history": "long"}', "\xff", '{"history": {}}'])
def test_a_damaged_record_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    trained(tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(GancoreError, match=r"environment\.json is damaged, .*; mend it, or delete it"):
        resumed(tmp_path / "run")
    assert path.read_bytes() == text.encode("latin-1")
    path.unlink()
    resumed(tmp_path / "run")


class Folder(Dataset):
    """Images of a file, which may be moved, changed, or gone."""

    def __init__(self, *, path: str, image_size: int = 8) -> None:
        self.path = Path(path)
        self.image_size = image_size

    @property
    def info(self) -> DatasetInfo:
        if not self.path.is_file():
            raise GancoreError(f"there is no folder {self.path}.")
        return DatasetInfo(10, 1, self.image_size, tuple("0123456789"))

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        number = int(self.path.read_text())
        images = torch.arange(number * self.image_size**2).view(number, 1, self.image_size, self.image_size)
        return (images % 251).to(torch.uint8), torch.arange(number) % 10


@pytest.fixture
def of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the digits be those of a file, and return it."""
    import tests.standin.data as standin

    (tmp_path / "images").write_text("40")
    monkeypatch.setattr(standin, "Digits", Folder)
    return tmp_path / "images"


def at(path: Path) -> dict[str, Any]:
    return {"data": {"path": str(path)}}


def test_data_that_moved_are_the_same_and_others_are_refused(tmp_path: Path, of_a_file: Path) -> None:
    trained(tmp_path / "run", at(of_a_file))
    whole = trained(tmp_path / "whole", at(of_a_file), LONGER)
    other = of_a_file.rename(tmp_path / "moved")
    longer, told = resumed(tmp_path / "run", at(other), LONGER)
    assert same(longer, whole) == []
    assert any("data.path was" in text for text in told)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    other.write_text("41")
    for changed in (False, True):
        with pytest.raises(
            GancoreError, match=r"the images of data are 41 images, and not the 40 that .*safetensors was trained on"
        ):
            resumed(tmp_path / "run", at(other), LONGER, changed=changed)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_one_changed_pixel_is_seen(tmp_path: Path, of_a_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "run", at(of_a_file))
    load = Folder.load

    def loaded(self: Folder, split: str) -> tuple[Tensor, Tensor]:
        images, labels = load(self, split)
        images[17, 0, 3, 3] += 1
        return images, labels

    monkeypatch.setattr(Folder, "load", loaded)
    with pytest.raises(GancoreError, match="the images of data are others than the 40 that"):
        resumed(tmp_path / "run", at(of_a_file))


def test_a_run_is_opened_and_sampled_without_its_data(tmp_path: Path, of_a_file: Path) -> None:
    run = trained(tmp_path / "run", at(of_a_file))
    before, _ = sample(run, 20)
    of_a_file.unlink()
    opened = open_run(tmp_path / "run", registry(), CPU, bare=True)
    images, labels = sample(opened, 20)
    assert torch.equal(images, before)
    assert labels.tolist() == [*range(10)] * 2
    assert opened.batches.class_counts == [4] * 10
    assert opened.plan.info.class_names == tuple("0123456789")


def _weights(path: Path, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    network = run_of(METRIC).networks["classifier"]
    write_tensors(path, {name: torch.randn_like(value) for name, value in network.state_dict().items()}, {})
    return {"networks": {"classifier": {"use": "host/classifier", "weights": str(path)}}}


def test_a_frozen_network_is_known_by_its_weights_and_not_by_where_they_lie(tmp_path: Path) -> None:
    here, there, others = (_weights(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    trained(tmp_path / "run", BALANCE, here)
    resumed(tmp_path / "run", BALANCE, there)
    with pytest.raises(GancoreError, match=r"was trained with other weights of networks.classifier than these"):
        resumed(tmp_path / "run", BALANCE, others)
    for path in "abc":
        (tmp_path / path).unlink()
    assert open_run(tmp_path / "run", registry(), CPU, bare=True).iteration == 8


def test_a_network_that_metrics_alone_read_may_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (_weights(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 1)))
    trained(tmp_path / "run", METRIC, one)
    resumed(tmp_path / "run", METRIC, two)
    plan = make_plan(recipe_of(METRIC, two), registry())
    assert only_scored(plan) == {"classifier"}
    monkeypatch.setattr(plan.loop.cls, "reads_networks", True)
    assert only_scored(plan) == set()
    assert not Loop.reads_networks


def test_a_run_is_scored_by_metrics_that_it_did_not_have_and_stays_what_it_was(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    words = ["networks.classifier.use=host/classifier", "metrics.fid.use=standard/fid", "metrics.fid.network=classifier"]
    opened = open_run(tmp_path / "run", registry(), CPU, assignments=words)
    assert list(opened.plan.metrics) == ["fid"]
    assert same(run, opened) == []
    with pytest.raises(GancoreError, match=r"was trained by another recipe.*run.seed was 0 and is 3"):
        open_run(tmp_path / "run", registry(), CPU, assignments=["run.seed=3"])
    assert (
        "metrics" not in toml.read(tmp_path / "run" / "recipe.toml")
        or not toml.read(tmp_path / "run" / "recipe.toml")["metrics"]
    )


def test_a_run_goes_on_from_a_copy_and_a_strange_checkpoint_in_it_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    resumed(tmp_path / "copy", LONGER)
    trained(tmp_path / "other", {"run": {"seed": 5}})
    shutil.copy(checkpoint.checkpoints(tmp_path / "other")[-1], checkpoint.checkpoints(tmp_path / "run")[-1])
    with pytest.raises(GancoreError, match=r"00000008.safetensors was trained by another recipe, .*run.seed was 5 and is 0"):
        resumed(tmp_path / "run")


def test_the_identity_holds_no_place_and_no_interval() -> None:
    table = {
        "summary": "x",
        "run": {"seed": 1, "log_every": 3, "iterations": 5, "precision": "float32", "accelerate": ["a/b"]},
        "data": {"use": "a/b", "path": "/x", "image_size": 8},
        "sources": {"more": {"use": "a/b", "cache": "/y"}},
        "networks": {"c": {"use": "a/c", "weights": "/z", "trained_by": "a/d", "width": 2}},
        "metrics": {"fid": {"use": "a/e"}},
        "evaluation": {"samples": 3},
    }
    assert identity(table) == {
        "run.seed": 1,
        "run.iterations": 5,
        "run.batch_size": 64,
        "run.latent_dim": 128,
        "data.use": "a/b",
        "data.image_size": 8,
        "sources.more.use": "a/b",
        "networks.c.use": "a/c",
        "networks.c.width": 2,
    }


def test_the_order_of_samplers_decides_the_weights() -> None:
    one, two = {"use": "a/one"}, {"use": "a/two"}
    assert identity({"samplers": {"a": one, "b": two}}) != identity({"samplers": {"b": two, "a": one}})
    assert identity({"losses": {"a": one, "b": two}}) == identity({"losses": {"b": two, "a": one}})


def test_files_of_others_in_a_run_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained(out, {"run": {"sample_every": 2}})
    strange = [
        out / "checkpoints" / "1st.safetensors",
        out / "checkpoints" / "99999999 (1).safetensors",
        out / "samples" / "9b.png",
    ]
    for path in strange:
        path.write_text("mine")
    assert resumed(out, LONGER)[0].iteration == 16
    assert open_run(out, registry(), CPU).iteration == 16
    assert [path.read_text() for path in strange] == ["mine"] * 3


def test_a_network_that_is_trained_first_is_known_by_the_content_of_its_data(
    tmp_path: Path, of_a_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "classifier.toml").write_text(
        toml.dumps(
            {
                "run": {"iterations": 2, "batch_size": 4},
                "data": {"use": "standard/digits"},
                "loop": {"use": "standard/supervised"},
                "networks": {"classifier": {"use": "host/classifier"}},
                "losses": {"loss": {"use": "standard/cross-entropy"}},
            }
        )
    )
    first = {"networks": {"classifier": {"use": "host/classifier", "trained_by": str(tmp_path / "classifier.toml")}}}

    def folders(path: Path, out: str) -> set[str]:
        trained(tmp_path / out, BALANCE, first, at(path))
        return {each.name for each in (tmp_path / "cache" / "trained").iterdir()}

    begun = folders(of_a_file, "a")
    assert len(begun) == 1
    moved = of_a_file.rename(tmp_path / "moved")
    assert folders(moved, "b") == begun
    moved.write_text("50")
    assert len(folders(moved, "c")) == 2


def test_the_digest_changes_with_any_value_and_not_with_the_texts() -> None:
    tables: list[dict[str, Any]] = [
        {},
        {"run": {"seed": 4}},
        {"losses": {"adversarial": {"weight": 3.0}}},
        {"data": {"flip": True}},
    ]
    digests = [recipe_digest(check_table(merge(GAME, table), registry(), name="test")) for table in tables]
    assert len(set(digests)) == 4
    assert recipe_digest(check_table({**GAME, "summary": "Other"}, registry(), name="other")) == digests[0]
