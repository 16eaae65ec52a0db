"""The diagnosis of planted mistakes, a sample by seed, and of a sound port. Runs in torch's environment.

`python -m tests.backends.diagnoses` takes all of them.
"""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import numpy as np
    import pytest
    import torch

    from benchmarks.port.answers import Answers
    from shared.pack import Pack
    from tests.backends.planting import answers_to, outcome, pairs
    from tests.told import NOT_SHOWN, TORCH

    SAMPLE = np.random.default_rng(16).choice(sorted(set(TORCH) - set(NOT_SHOWN)), 10, replace=False).tolist()

    @pytest.fixture(scope="module")
    def answers(default_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Answers:
        torch.set_num_threads(1)
        return answers_to(default_pack, tmp_path_factory.mktemp("answers"))

    def test_a_sound_port_gets_no_diagnosis(default_pack: Pack, answers: Answers) -> None:
        found = outcome(default_pack, (), answers)
        assert found is not None
        assert (found.said, found.rungs) == ([], [])

    @pytest.mark.parametrize("name", SAMPLE)
    def test_a_mistake_alone_is_named_and_no_other(default_pack: Pack, answers: Answers, name: str) -> None:
        found = outcome(default_pack, (name,), answers)
        assert found is not None
        assert (found.named[0], found.others, found.unexplained) == (name, [], [])

    @pytest.mark.parametrize("pair", list(pairs(6)), ids="+".join)
    def test_both_mistakes_of_a_pair_are_named(default_pack: Pack, answers: Answers, pair: tuple[str, ...]) -> None:
        found = outcome(default_pack, pair, answers)
        assert found is not None
        assert found.all_named
        assert found.others == []
