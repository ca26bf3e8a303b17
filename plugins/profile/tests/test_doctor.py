"""The doctor says what accelerators need, and what of it is here."""

from __future__ import annotations

import shutil

import pytest
import torch
from gancore_profile import gancore_accelerators, gancore_doctor
from gancore_profile.doctor import NONE


def test_it_says_of_each_accelerator_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "clang++" else None)
    lines = [*gancore_doctor()]
    assert [line.split()[0] for line in lines] == [f"profile/{each.name}" for each in gancore_accelerators()]
    assert "/usr/bin/clang++" in lines[0]
    assert "Some GPU" in lines[1]
    assert not any(NONE in line for line in lines)


def test_it_says_what_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert [NONE in line for line in gancore_doctor()] == [True, True, False]
