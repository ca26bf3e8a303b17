"""What the plugin declares, of every kind that a network is trained with."""

from __future__ import annotations

from typing import Any

from gancore.contract.hooks import KINDS
from gancore.contract.settings import settings_of
from gancore.registry import registry


def test_every_component_resolves_and_annotates_its_settings() -> None:
    components = [c for c in registry().components() if c.plugin == "standard" and c.kind != "command"]
    assert {c.kind for c in components} == set(KINDS) - {"accelerator", "attack", "command", "executor", "function"}
    for component in components:
        loaded = registry().load(component)
        for setting in settings_of(loaded).values():
            assert setting.annotation is not Any, f"{component.full_name}: {setting.name}"
