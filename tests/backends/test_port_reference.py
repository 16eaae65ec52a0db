"""The arithmetic of port checks compared with torch's own, and sound variants of a port. Runs in torch's
environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":
    import numpy as np
    import pytest
    import torch

    from backends.torch.reference import record, trimmed
    from backends.torch.rounding import FLOAT64
    from benchmarks.port.own import Adam, clipped, cross_entropy, global_norm
    from shared.pack import Arrays, Pack, Settings
    from tests.backends.sound_variants import alarms

    NAMES = ("a.weight", "a.bias", "b.weight")

    def settings(**changed: object) -> Settings:
        usual = {
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warm_up_steps": 0,
            "total_steps": 5,
            "beta1": 0.9,
            "beta2": 0.99,
            "eps": 1e-4,
            "eps_place": "after",
            "bias_correction": True,
            "decay": 0.1,
            "decayed": ["a.weight", "b.weight"],
            "clip": 0.5,
            "dropout": 0.0,
            "num_labels": 2,
        }
        return Settings(**usual | changed)  # type: ignore[arg-type]

    def arrays(random: np.random.RandomState) -> dict[str, np.ndarray]:
        return {name: random.standard_normal((4, 3)) for name in NAMES}

    @pytest.mark.parametrize("optimizer", ["adamw", "adam"])
    def test_steps_are_those_of_torch(optimizer: str) -> None:
        """Five steps at rates that change, clipped, in float64."""
        random, chosen = np.random.RandomState(3), settings(optimizer=optimizer)
        weights = arrays(random)
        parameters = {name: torch.nn.Parameter(torch.from_numpy(array.copy())) for name, array in weights.items()}
        groups = [
            {"params": [p], "weight_decay": chosen.decay * (name in chosen.decayed)} for name, p in parameters.items()
        ]
        kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.Adam
        theirs = kind(groups, betas=(chosen.beta1, chosen.beta2), eps=chosen.eps)
        mine = Adam(chosen)
        for step in range(5):
            gradients, rate = arrays(random), 1e-2 * (step + 1)
            for name, parameter in parameters.items():
                parameter.grad = torch.from_numpy(gradients[name].copy())
            norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), 0.5)
            assert float(norm) == pytest.approx(float(global_norm(gradients)), rel=1e-12)
            small = clipped(gradients, 0.5)
            for group in theirs.param_groups:
                group["lr"] = rate
            theirs.step()
            weights = mine.step(weights, small, rate)
            for name, parameter in parameters.items():
                assert parameter.grad is not None
                np.testing.assert_allclose(small[name], parameter.grad.numpy(), rtol=1e-12)
                np.testing.assert_allclose(weights[name], parameter.detach().numpy(), rtol=1e-12)

    def test_the_loss_is_that_of_torch() -> None:
        random = np.random.RandomState(4)
        logits, labels = 30 * random.standard_normal((6, 3)), random.randint(0, 3, 6)
        theirs = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
        assert float(cross_entropy(logits, labels)) == pytest.approx(float(theirs), rel=1e-12)

    def test_a_bound_above_the_norm_clips_nothing() -> None:
        gradients = arrays(np.random.RandomState(5))
        for clip in (None, 1e3):
            assert all((clipped(gradients, clip)[name] == gradients[name]).all() for name in NAMES)

    def test_sound_variants_raise_no_alarm(default_pack: Pack, tmp_path: Path) -> None:
        """`python -m tests.backends.sound_variants` tries 200."""
        assert alarms(default_pack, tmp_path, list(range(16))) == {}

    def widened(batch: Arrays) -> Arrays:
        return {name: np.pad(array, ((0, 0), (0, 7))) if array.ndim == 2 else array for name, array in batch.items()}

    def test_columns_of_padding_alone_change_no_truth(default_pack: Pack, tmp_path: Path) -> None:
        """The ladder's reference leaves them out."""
        shutil.copytree(default_pack.folder, tmp_path / "pack")
        for file in (tmp_path / "pack" / "batches").iterdir():
            batch = dict(np.load(file))
            np.savez(file, **widened(batch))  # type: ignore[arg-type]
            assert all((trimmed(widened(batch))[name] == array).all() for name, array in batch.items())
        pack = Pack(tmp_path / "pack", default_pack.contents, default_pack.wanted)
        for ladder in (False, True):
            record(pack, tmp_path / str(ladder), FLOAT64, ladder=ladder)
        files = sorted(file.relative_to(tmp_path / "True") for file in (tmp_path / "True").rglob("*.npz"))
        assert len(files) > 50
        for file in files:
            with np.load(tmp_path / "False" / file) as padded, np.load(tmp_path / "True" / file) as short:
                assert padded.files == short.files
                for name in short.files:
                    largest = np.abs(padded[name]).max(initial=0)
                    np.testing.assert_allclose(short[name], padded[name], rtol=0, atol=1e-11 * largest + 1e-15)
