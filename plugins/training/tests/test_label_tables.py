"""The labels of the data: which occur, how often, and what a file holds of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from gancore_training.label_tables import labels_of, table_of

from gancore import DatasetInfo, GancoreError
from gancore.engine import Labels

CLASSES = DatasetInfo(10, 1, 8)
ATTRIBUTES = DatasetInfo(0, 1, 8, attributes=3)


def test_a_label_counts_as_often_as_its_images_are_drawn() -> None:
    classes = torch.tensor([7, 1, 7, 7, 4])
    counted = Labels.of(classes, None)
    assert table_of(counted) == {"1": 1.0, "4": 1.0, "7": 3.0}
    assert table_of(Labels.of(classes, torch.tensor([0.5, 2, 0.25, 0, 0]))) == {"1": 2.0, "7": 0.75}
    rows = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 0, 1]])
    assert table_of(Labels.of(rows, None)) == {"0,1,1": 1.0, "1,0,1": 2.0}


@pytest.mark.parametrize(("info", "rows"), [(CLASSES, [3, 3, 9]), (ATTRIBUTES, [[1, 0, 1], [0, 0, 0]])])
def test_a_file_holds_them_to_the_last_bit(info: DatasetInfo, rows: list[Any]) -> None:
    before = Labels.of(torch.tensor(rows), torch.tensor([0.1, 1 / 3, 3e-9][: len(rows)], dtype=torch.float64))
    after = labels_of(json.loads(json.dumps(table_of(before))), info)
    assert torch.equal(after.values, before.values)
    assert torch.equal(after.counts, before.counts)


@pytest.mark.parametrize(
    "table",
    [
        None,
        {},
        [3],
        "3",
        {"3": "many"},
        {"three": 1},
        {"3": 0},
        {"3": -1},
        {"3": float("nan")},
        {"3": float("inf")},
        {"3": None},
        {"10": 1},
        {"-1": 1},
        {"0,1,1": 1},
        {"0,1,1": 1, "3": 1},
        {"9" * 30: 1},
        {"": 1},
    ],
)
def test_what_is_no_table_of_such_labels_is_refused(table: Any) -> None:
    for info, wrong in ((CLASSES, table), (ATTRIBUTES, {"0,2,1": 1})):
        with pytest.raises(GancoreError, match="its labels are none of these data"):
            labels_of(wrong, info)
