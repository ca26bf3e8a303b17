"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

MIXTURE = "joined images replace generated ones in each process's share of a batch, so other latents are left out than in one"

NOISE = "noise inside of a network falls otherwise on the images of two processes"

SEMI = {
    "sources": {"labelled": {}},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"classes": {"use": "dsgan/semi-supervised"}},
    "loop": {"use": "dsgan/semi-supervised", "average": 0.9},
    "optimizers": {"classifier": {"use": "adam", "lr": 1e-3}},
}

test_conformance = conformance(
    "dsgan",
    settings={
        "novelty": {"seen": [0, 1], "detector_iterations": 2, "detector_batch_size": 8},
        "nearest": {"images": 8},
        "conv-classifier": {"maps": 16},
        "plain-classifier": {"maps": 16},
        "conv-generator": {"width": 0.125},
    },
    apart={"difference": MIXTURE, "mnist-classifier": NOISE, "conv-classifier": NOISE},
    beside={
        "low-density": {"data": {"use": "dsgan/disc", "samples": 200}},
        "complement": SEMI,
        "averaged-accuracy": SEMI,
    },
)
