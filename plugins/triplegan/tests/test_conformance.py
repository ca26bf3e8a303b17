"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

NOISE = "noise inside of a network falls otherwise on the images of two processes"

# The host makes a source of each side of which a term asks for labels; `guessed` is the loop's.
GAME = {
    "sources": {"labelled": {}, "guessed": False},
    "networks": {
        "generator": {"use": "host/generator"},
        "discriminator": {"use": "host/discriminator"},
        "classifier": {"use": "host/classifier"},
    },
    "heads": {"adversarial": {"use": "host/logit"}},
    "losses": {
        "adversarial": {"use": "host/non-saturating-game"},
        "labels": {"use": "host/classifier-loss", "reads": {"real": "labelled"}},
    },
    "loop": {"use": "triplegan/three-players"},
    "optimizers": {
        player: {"use": "torch/Adam", "lr": 1e-3, "fused": True} for player in ("generator", "discriminator", "classifier")
    },
}

AT_ONCE = {
    "losses": {**{label: {"start": 0} for label in ("game", "confidence", "generated")}, "before": False},
    "networks": {"discriminator": {"input_noise": 0.0, "noise": 0.0}},
}

test_conformance = conformance(
    "triplegan",
    settings={
        "mnist-classifier": {"width": 0.25},
        "conv-classifier": {"width": 0.0625},
        "conv-generator": {"width": 0.03},
        "conv-discriminator": {"width": 0.25},
    },
    apart={
        "mlp-discriminator": NOISE,
        "conv-discriminator": NOISE,
        "mnist-classifier": NOISE,
        "conv-classifier": NOISE,
    },
    beside={"pairs": GAME, "consistency": GAME, "three-players": GAME},
    recipes={"digits": AT_ONCE},
)
