"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

SETTINGS = {
    "per-class": {"count": 3},
    "take-classes": {"keep": [0, 2]},
    "exponential": {"period": 2.0},
    "steps": {"at": [1, 3]},
    "image-folder": {"path": "nowhere"},
    "cas": {"labels": "generator", "architecture": "small-cnn", "classifier_iterations": 2},
    "robust-accuracy": {"attack": "host/ascent", "epsilons": [0.1]},
    **{f"sndcgan-{role}": {"width": 0.125} for role in ("generator", "discriminator")},
    **{f"resnet-{role}": {"width": 0.125} for role in ("generator", "discriminator")},
    **{f"dcgan-{role}": {"width": 0.125} for role in ("generator", "discriminator")},
}

CLASSIFYING = {
    "loop": {"players": ["discriminator", "generator", "classifier"]},
    "losses": {"classes": {"use": "host/classifier-loss"}},
}

DIGITS = (
    "digits",
    *(f"{method}-digits" for method in ("wgan-gp", "wgan-lp", "wgan-lp-around", "sn-gan", "projection", "concatenation")),
)

test_conformance = conformance(
    "standard",
    SETTINGS,
    beside={"accuracy": CLASSIFYING},
    elsewhere={"inception": "its weights are downloaded"},
    recipes={recipe: {} for recipe in (*DIGITS, "ring", "grid")},
)
