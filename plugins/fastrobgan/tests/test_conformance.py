"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "fastrobgan",
    settings={
        name: {"width": 0.125} for name in ("generator", "discriminator", "plain-discriminator", "preact-resnet18", "vgg16")
    },
    # Thirteen convolutions under ReLU and five maxima: the gradients of float32 and of float64 differ by 3 % there.
    apart={
        "vgg16": "where two values are nearly equal, rounding decides which one is the largest, and where its gradient goes"
    },
    elsewhere={"external": "foolbox imports what SciPy deprecates, which pytest refuses; test_attacks.py tries it"},
)
