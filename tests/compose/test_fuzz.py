"""Two hundred inputs of the fuzzer; ``python -m tests.fuzz`` runs as many as one likes."""

from __future__ import annotations

import pytest

from tests.fuzz.running import judged


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_mutated_inputs_end_well_or_by_one_short_sentence(start: int) -> None:
    wrong = []
    for seed in range(start, start + 20):
        made, problem, _ = judged(seed)
        if problem:
            wrong.append(f"{seed} {made.kind}: {made.about}; {problem}")
    assert wrong == []


def test_the_same_number_makes_the_same_input(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.fuzz import make

    for seed in (1, 2, 3):
        folders = [tmp_path_factory.mktemp("input") for _ in "ab"]
        one, two = (make(seed, folder) for folder in folders)
        assert one == two
        assert sorted(path.name for path in folders[0].iterdir()) == sorted(path.name for path in folders[1].iterdir())
