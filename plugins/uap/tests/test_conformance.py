"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance(
    "uap",
    settings={
        "gap": {"maps": 8, "blocks": 2},
        "torchvision": {"model": "resnet18", "input_size": 32},
        "shapes": {"number": 100},
        "proxy": {"path": "nowhere"},
    },
    elsewhere={
        "torchvision-pretrained": "its weights are downloaded",
        "fooling-rate": "it samples the cycles of a run that is kept in a folder",
    },
)
