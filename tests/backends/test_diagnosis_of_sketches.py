"""The diagnosis of a large pack's recording: sketches, and a few arrays whole. Runs in torch's environment."""

from __future__ import annotations

import os

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    from collections.abc import Callable
    from dataclasses import replace
    from pathlib import Path
    from typing import Any
    from unittest import mock

    import pytest
    import torch

    from benchmarks.port.answers import Answers
    from benchmarks.port.causes import Diagnosis
    from benchmarks.port.pack import generated, make_pack
    from benchmarks.port.whole import one_of_each_kind
    from shared.pack import Pack
    from tests.backends.planting import Here, diagnosed, planted, run_script

    Told = Callable[[tuple[str, ...]], Diagnosis]
    reference: Any = Here()

    @pytest.fixture(scope="module")
    def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
        """The default pack, as if it were large."""
        torch.set_num_threads(1)
        with generated() as source:
            return make_pack(replace(source, sketches=True), tmp_path_factory.mktemp("large") / "pack", reference)

    @pytest.fixture(scope="module")
    def whole(pack: Pack) -> tuple[str, ...]:
        return tuple(one_of_each_kind(pack.wanted.parts["parameters"]))

    @pytest.fixture(scope="module")
    def answers(pack: Pack, whole: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Answers:
        return Answers.to(pack, reference, tmp_path_factory.mktemp("answers"), whole)

    @pytest.fixture
    def told(pack: Pack, whole: tuple[str, ...], answers: Answers, tmp_path: Path) -> Told:
        """The diagnosis of the port with these mistakes."""

        def told(names: tuple[str, ...]) -> Diagnosis:
            text = planted(names)
            assert text is not None
            with mock.patch.dict(os.environ, CONCORD_WHOLE=",".join(whole)):
                recording = run_script(text, pack.folder, tmp_path)
            return diagnosed(pack, recording, tmp_path, answers)[1]

        return told

    def test_every_kind_of_mistake_is_named(told: Told) -> None:
        names = ("gelu-tanh", "pad-trained", "clip-each", "no-bias-correction")
        found = told(names)
        assert found.differences == list(names)
        assert found.unexplained == []

    def test_one_parameter_of_each_kind_is_kept_whole(whole: tuple[str, ...]) -> None:
        assert "bert.encoder.layer.0.attention.self.query.weight" in whole
        assert "bert.embeddings.token_type_embeddings.weight" in whole
        assert not any("layer.1" in name for name in whole)
        assert list(one_of_each_kind({"a.b.weight": [10, 10], "c.a.b.weight": [10], "a.c.weight": [2000, 2000]})) == [
            "a.b.weight"
        ]
