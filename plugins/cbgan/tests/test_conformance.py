"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "cbgan",
    settings={"resize-crop": {"size": 10, "crop": 8}, "bit-resnet50": {"input_size": 32, "units": [1, 1, 1, 1]}},
)
