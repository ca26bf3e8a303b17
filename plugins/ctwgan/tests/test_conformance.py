"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

NOISE = "dropout falls otherwise on the images of two processes"

CLASSES = {"heads": {"classes": {"use": "standard/auxiliary-classifier"}}}

test_conformance = conformance(
    "ctwgan",
    settings={"critic": {"width": 0.125}, "resnet-critic": {"width": 0.0625}, "temporal-ensembling": {"slots": 64}},
    beside={"class-consistency": CLASSES, "temporal-ensembling": CLASSES},
    apart={"critic": NOISE, "resnet-critic": NOISE, "linear": NOISE},
)
