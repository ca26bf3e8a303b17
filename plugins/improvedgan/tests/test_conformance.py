"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

QUIET = {"networks": {"discriminator": {"input_noise": 0.0, "noise": 0.0}}}
NOISE = "noise inside of a network falls otherwise on the images of two processes"

CLASSES = {"heads": {"classes": {"use": "standard/auxiliary-classifier"}}}

test_conformance = conformance(
    "improvedgan",
    settings={
        "mnist-discriminator": {"width": 0.02},
        "conv-discriminator": {"maps": [8, 8, 8, 8, 8]},
        "vbn-generator": {"width": 0.125, "reference": 5},
        "vbn-discriminator": {"width": 0.125},
        "minibatch": {"kernels": 2, "width": 3},
        "minibatch-classes": {"kernels": 2, "width": 3},
    },
    beside={"semi-supervised": CLASSES},
    apart={"mnist-discriminator": NOISE, "conv-discriminator": NOISE},
    recipes={"digits": {}, "digits-semi": QUIET, "digits-semi-minibatch": QUIET},
)
