"""Ports in lower precision: rounding is the types' own, sound variants hold, and mistakes are seen behind it. Runs in
torch's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import pytest
    import torch
    from torch.nn import functional
    from torch.nn.utils import clip_grad_norm_

    from backends.torch.rounding import rounded
    from benchmarks.port.answers import Answers
    from benchmarks.port.precision import PortPrecision, is_rounded, noises_in
    from benchmarks.port.reference import Reference
    from shared.pack import Pack
    from shared.reference import Lower
    from tests.backends.sound_variants import Variant, failing

    REFERENCE = Reference.find({}, 1)

    def numbers() -> torch.Tensor:
        return torch.from_numpy(np.random.RandomState(0).standard_normal(20_000).astype(np.float32) * 10)

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_values_are_rounded_as_torch_casts_them(precision: Lower) -> None:
        x = torch.cat([numbers(), torch.tensor([0.0, -0.0, 1e-7, 1e5, float("inf"), float("nan")])])
        cast = x.to(getattr(torch, precision)).float()
        torch.testing.assert_close(rounded(x, precision), cast, rtol=0, atol=0, equal_nan=True)

    def test_tf32_keeps_ten_bits() -> None:
        x = numbers()
        kept = rounded(x, "tf32")
        assert not (kept.view(torch.int32) & 0x1FFF).any()
        assert (kept.double() - x.double()).abs().div(x.double().abs()).max() <= 2.0**-11

    def test_at_random_a_value_goes_to_a_neighbour() -> None:
        x = numbers()
        seeds = [rounded(x, "bfloat16", torch.Generator().manual_seed(seed)).double() for seed in range(20)]
        for kept in seeds:
            assert (kept - x.double()).abs().div(x.double().abs()).max() <= 2.0**-7
        assert (seeds[0] != seeds[1]).any()
        mean = torch.stack(seeds).mean(0)
        assert abs(float(((mean - x.double()) / x.double()).mean())) < 1e-4  # it goes up as often as the value asks

    @pytest.fixture(scope="module")
    def answers(default_pack: Pack) -> Iterator[Answers]:
        """The reference's answers to the default pack."""
        threads = torch.get_num_threads()
        yield Answers.to(default_pack, REFERENCE)
        torch.set_num_threads(threads)

    def wrong_in(precision: PortPrecision, weights: bool, pack: Pack, answers: Answers, recording: Path) -> list[str]:
        assert precision != "float32"
        bounds = replace(answers, noises=noises_in(precision, weights, pack, answers, REFERENCE))
        return failing(pack, recording, recording.parent, bounds)

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.parametrize(
        ("precision", "weights"), [("bfloat16", False), ("bfloat16", True), ("float16", False), ("tf32", False)]
    )
    def test_a_sound_variant_holds(
        default_pack: Pack, answers: Answers, tmp_path: Path, precision: PortPrecision, weights: bool, number: int
    ) -> None:
        Variant(number, precision, weights).record(default_pack, tmp_path / "recording")
        assert wrong_in(precision, weights, default_pack, answers, tmp_path / "recording") == []

    def relu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
        return functional.relu(x)

    def unmasked(batch: Any) -> Any:
        return lambda pack, step: (given := batch(pack, step)) | {"attention_mask": np.ones_like(given["input_ids"])}

    def clip_none(parameters: Any, _: float) -> torch.Tensor:
        return clip_grad_norm_(parameters, float("inf"))

    def clip_each(parameters: Any, clip: float) -> torch.Tensor:
        norm = clip_grad_norm_(parameters, float("inf"))
        for parameter in parameters:
            clip_grad_norm_([parameter], clip)
        return norm

    class DecaysAll(torch.optim.AdamW):
        def __init__(self, groups: Any, **options: Any) -> None:
            most = max(group["weight_decay"] for group in groups)
            super().__init__([{**group, "weight_decay": most} for group in groups], **options)

    @pytest.mark.parametrize(
        ("owner", "name", "mistake", "rung"),
        [
            (functional, "gelu", relu, "layers wrong"),
            (Pack, "batch", unmasked(Pack.batch), "layers wrong"),
            (torch.nn.utils, "clip_grad_norm_", clip_none, "clipped, steep wrong"),
            (torch.nn.utils, "clip_grad_norm_", clip_each, "clipped, steep wrong"),
            (torch.optim, "AdamW", DecaysAll, "first step, steep wrong"),
        ],
        ids=["relu", "no mask", "no clipping", "clipping each", "decay on all"],
    )
    def test_a_mistake_shows_in_bfloat16(
        default_pack: Pack, answers: Answers, tmp_path: Path, owner: Any, name: str, mistake: Any, rung: str
    ) -> None:
        with mock.patch.object(owner, name, mistake):
            Variant(0, "bfloat16").record(default_pack, tmp_path / "recording")
        assert rung in wrong_in("bfloat16", False, default_pack, answers, tmp_path / "recording")

    def test_weights_of_a_precision_are_told_by_value(default_pack: Pack) -> None:
        weights = {name: torch.from_numpy(weight) for name, weight in default_pack.weights.items()}
        halves = {name: weight.bfloat16().float().numpy() for name, weight in weights.items()}
        assert is_rounded(halves, "bfloat16")
        assert not is_rounded(default_pack.weights, "bfloat16")
        assert is_rounded({name: weight.half().float().numpy() for name, weight in weights.items()}, "float16")
