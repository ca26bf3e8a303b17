"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

NOISE = "dropout falls otherwise on the images of two processes"

CLASSES = {"heads": {"classes": {"use": "standard/auxiliary-classifier"}}}

test_conformance = conformance(
    "ctwgan",
    settings={"critic": {"width": 0.125}, "resnet-critic": {"width": 0.0625}, "temporal-ensembling": {"slots": 64}},
    beside={"class-consistency": CLASSES, "temporal-ensembling": CLASSES},
    apart={"critic": NOISE, "resnet-critic": NOISE, "linear": NOISE},
    recipes={
        "digits-50": {"networks": {"discriminator": {"dropout": 0.0}}},
        "digits-semi": {"networks": {"discriminator": {"input_noise": 0.0, "noise": 0.0}}},
    },
)
