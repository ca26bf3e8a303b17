"""Uploading an export to the Hugging Face Hub, where huggingface_hub is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from gancore import GancoreError
from gancore.tools import first_line


def check_hub() -> None:
    """Refuse to upload without the library that does it.

    Raises:
        GancoreError: It is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise GancoreError("--to-hub needs huggingface_hub; install it by: pip install 'gancore-plugin-export[hub]'")


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload an export to the repository `name` (``owner/model``), which is made where it is not there, and return its address.

    Who uploads is who has logged in by ``hf auth login``, or by the environment variable HF_TOKEN.

    Raises:
        GancoreError: huggingface_hub is not installed, or the hub refuses.
    """
    check_hub()
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        address = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Add a generator exported from gancore")
    except Exception as error:
        # The library raises errors of several others: of names, of the network, of rights.
        raise GancoreError(
            f"{folder} can't be uploaded to {name!r} ({type(error).__name__}: {first_line(error)[:150]}); the export itself is "
            "there: log in by `hf auth login`, or upload it by hand."
        ) from error
    return str(address)
