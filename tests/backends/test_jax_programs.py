"""XLA's programs: kept on disk between processes, read back by the same processor and threads alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared.contract import Build, Compiled, Load
from shared.recipe import Recipe
from tests.backends.cases import architecture, perturbed_weights, random_batch
from tests.backends.conftest import ROOT

if os.environ.get("CONCORD_TEST_BACKEND") == "keras-jax":
    NETWORK = architecture("bert", layers=1)

    def trained(threads: str, answer: str) -> None:
        """Two steps of one shape; leaves the weights' hash and what became of the programs."""
        import hashlib

        from msgspec import structs

        from backends.keras_jax import adapter

        recipe = Recipe(batch_size=8)
        model = adapter.load(Build(NETWORK, perturbed_weights(NETWORK), recipe, threads=int(threads)))
        for seed in (1, 2):
            model.train_step(random_batch(NETWORK, 8, 16, seed), 1e-3)
        weights = hashlib.sha256(b"".join(array.tobytes() for array in model.weights().values())).hexdigest()
        Path(answer).write_text(json.dumps(structs.asdict(model.programs()) | {"weights": weights}))

    def in_a_process(cache: Path, threads: int = 1) -> dict[str, Any]:
        """Runs `trained` in an interpreter of its own with this cache folder."""
        answer = cache / "answer.json"
        program = "import sys; from tests.backends.test_jax_programs import trained; trained(*sys.argv[1:])"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "CONCORD_CACHE": str(cache)}
        command = [sys.executable, "-c", program, str(threads), str(answer)]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        found: dict[str, Any] = json.loads(answer.read_text())
        return found

    def test_a_second_process_reads_programs_and_computes_the_same(tmp_path: Path) -> None:
        first, second = in_a_process(tmp_path), in_a_process(tmp_path)
        assert (first["compiled"], first["from_cache"]) == (1, 0)
        assert (second["compiled"], second["from_cache"]) == (0, 1)
        assert second["weights"] == first["weights"]
        assert second["seconds"] > 0

    def test_batches_without_padding_share_programs(load: Load) -> None:
        """Random rows, whose numbers of tokens differ, repeat few programs."""
        model = load(Build(NETWORK, perturbed_weights(NETWORK), Recipe(batch_size=8, padding="none")))
        assert isinstance(model, Compiled)
        before, batches = model.programs(), [random_batch(NETWORK, 8, 16, seed) for seed in range(12)]
        for batch in batches:
            model.train_step(batch, 1e-3)
        after = model.programs()
        assert len({batch.attention_mask.sum() for batch in batches}) > 8
        assert after.compiled + after.from_cache - before.compiled - before.from_cache <= 3

    def test_other_threads_have_other_programs(tmp_path: Path) -> None:
        found = [in_a_process(tmp_path, threads) for threads in (1, 2)]
        assert [each["compiled"] for each in found] == [1, 1]

    def test_a_program_cut_short_on_disk_is_compiled_again(tmp_path: Path) -> None:
        whole = in_a_process(tmp_path)
        (kept,) = (file for file in (tmp_path / "xla").rglob("*") if file.is_file())
        kept.write_bytes(kept.read_bytes()[:1000])
        again = in_a_process(tmp_path)
        assert (again["compiled"], again["from_cache"]) == (1, 0)
        assert again["weights"] == whole["weights"]
