"""Everything that gancore asks of a plugin."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from gancore_causalgan.controller import Controller

from gancore.testing import conformance
from gancore.tools import write_tensors

GRAPH = ["male", "smiling <- male", "mustache <- male"]
DATA: dict[str, Any] = {"data": {"use": "causalgan/faces", "image_size": 8, "images": 40}, "heads": {"classes": False}}
FACES: dict[str, Any] = {**DATA, "networks": {"classifier": False, "generator": {"use": "causalgan/generator", "width": 0.1}}}
LABELERS = {name: {"use": "causalgan/labeler", "maps": 4} for name in ("labeler", "antilabeler")}
AGREE = {"losses": {"agree": {"use": "causalgan/labeler"}, "differ": {"use": "causalgan/anti-labeler"}}}
PLAYERS = {"players": ["discriminator", "labeler", "antilabeler", "generator"]}

# A controller is always frozen where its labels are used, so that it needs weights.
torch.manual_seed(0)
WEIGHTS = Path(tempfile.mkdtemp()) / "controller.safetensors"
write_tensors(WEIGHTS, Controller(graph=GRAPH, width=2, layers=2).state_dict(), {})
CONTROLLER = {"use": "causalgan/controller", "graph": GRAPH, "width": 2, "layers": 2, "weights": str(WEIGHTS)}


def faces(**networks: Any) -> dict[str, Any]:
    return {**FACES, "networks": {**FACES["networks"], **networks}}


GAME = {**faces(**LABELERS), "loop": PLAYERS}

test_conformance = conformance(
    "causalgan",
    settings={
        "controller": {"graph": GRAPH, "width": 2, "layers": 2},
        "attributes": {"of": "causalgan/faces", "settings": {"images": 40}},
        "generator": {"width": 0.1},
        "as-asked": {"judge": "labeler", "samples": 16},
        "faces": {"image_size": 8, "images": 40},
    },
    beside={
        "controller": {
            "data": {"use": "causalgan/attributes", "of": "causalgan/faces", "settings": {"images": 40}},
            "run": {"latent_dim": 6},
        },
        "attributes": {"networks": {"classifier": False}},
        "faces": FACES,
        "generator": {**DATA, "networks": {"classifier": False}},
        "labeler": {**GAME, **AGREE},
        "anti-labeler": {**GAME, "losses": {"agree": {"use": "causalgan/labeler"}}},
        "causal": faces(controller=CONTROLLER),
        "four-players": {**faces(**LABELERS), **AGREE},
        "as-asked": {**GAME, **AGREE},
        "variety": {**GAME, **AGREE},
        "total-variation": {"data": {"use": "causalgan/attributes", "of": "causalgan/faces", "settings": {"images": 40}}},
    },
    recipes={
        "controller": {},
        "faces": {"data": {"images": 40}, "networks": {"controller": CONTROLLER, "generator": {"width": 0.1}}},
    },
)
