"""The diagnosis of planted mistakes, a sample by seed, and of a sound port. Runs in torch's environment.

`python -m tests.backends.diagnoses` takes all of them.
"""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    from pathlib import Path

    import numpy as np
    import pytest
    import torch

    from benchmarks.port.answers import Answers
    from shared.pack import Pack
    from tests.backends.diagnoses import Results
    from tests.backends.diagnoses_table import END, START, write_table
    from tests.backends.planting import Outcome, answers_to, outcome, pairs
    from tests.told import NOT_SHOWN, TORCH

    SAMPLE = np.random.default_rng(16).choice(sorted(set(TORCH) - set(NOT_SHOWN)), 8, replace=False).tolist()

    @pytest.fixture(scope="module")
    def answers(default_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Answers:
        torch.set_num_threads(1)
        return answers_to(default_pack, tmp_path_factory.mktemp("answers"))

    def test_a_sound_port_gets_no_diagnosis(default_pack: Pack, answers: Answers) -> None:
        found = outcome(default_pack, (), answers)
        assert (found.said, found.rungs) == ([], [])

    @pytest.mark.parametrize("name", SAMPLE)
    def test_a_mistake_alone_is_named_and_no_other(default_pack: Pack, answers: Answers, name: str) -> None:
        found = outcome(default_pack, (name,), answers)
        assert (found.named[0], found.others, found.unexplained) == (name, [], [])

    @pytest.mark.parametrize("name", NOT_SHOWN)
    def test_a_mistake_that_the_pack_does_not_show_is_not_claimed(
        default_pack: Pack, answers: Answers, name: str
    ) -> None:
        found = outcome(default_pack, (name,), answers)
        assert (found.said, found.rungs) == ([], [])

    @pytest.mark.parametrize("pair", list(pairs(6)), ids="+".join)
    def test_both_mistakes_of_a_pair_are_named(default_pack: Pack, answers: Answers, pair: tuple[str, ...]) -> None:
        found = outcome(default_pack, pair, answers)
        assert (found.all_named, found.others, found.left_out) == (True, [], "")

    def test_the_pooler_is_told_behind_dropout_left_on(default_pack: Pack, answers: Answers) -> None:
        found = outcome(default_pack, ("dropout-on", "pooler-relu"), answers)
        assert found.said == ["embeddings: dropout-on", "pooled: pooler-relu"]

    def test_a_pair_of_which_one_hides_the_other_is_left_out(default_pack: Pack, answers: Answers) -> None:
        found = outcome(default_pack, ("pad-trained", "encoder-frozen"), answers)
        assert found.left_out == "beside encoder-frozen, pad-trained moves nothing by more than three bounds"

    def test_results_are_read_again_without_what_was_wrong(tmp_path: Path) -> None:
        right = Outcome(planted=("gelu-tanh",), named=["gelu-tanh"], said=["layers: gelu-tanh"])
        wrong = Outcome(kind="pairs", planted=("gelu-tanh", "mask-none"), named=["gelu-tanh"])
        written = Results(tmp_path / "torch.jsonl")
        written.add(right)
        written.add(wrong)
        assert list(Results.read(tmp_path, "torch").found.values()) == [right, wrong]
        assert list(Results.read(tmp_path, "torch", again=True).found.values()) == [right]

    def test_the_table_has_figures_and_what_is_told_wrongly(tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
        alone = Outcome(planted=("gelu-tanh",), named=["gelu-tanh"], said=["layers: gelu-tanh"])
        pair = Outcome(
            kind="pairs", planted=("gelu-tanh", "mask-none"), named=["mask-none"], said=["layers: mask-none"]
        )
        write_table(page, [alone, pair, Outcome(kind="sound", variant=0)], {"gelu-tanh": ("layers", 27.7)})
        lines = page.read_text(encoding="utf-8").splitlines()
        assert (lines[0], lines[-1]) == ("before", "after")
        assert "old" not in lines
        assert "| two at once | torch | 1 | 0 (0.0%) | 0 | 0 |" in lines
        row = "| GELU is its tanh approximation | `gelu-tanh` | layers | 27.7 | named | not run | not run | 0 of 1 |"
        assert row in lines
        assert "- torch, gelu-tanh and mask-none: layers: mask-none" in lines
