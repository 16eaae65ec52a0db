"""`benchmarks.port check --cost`: effects of differences, paired by seed. The trainings themselves are tested in
torch's environment (tests/backends/test_mistaken.py)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from scipy import stats

from benchmarks.port.causes import Cause, Diagnosis
from benchmarks.port.check import Checked, RungFound
from benchmarks.port.cost import CostAsked, chosen_for, differences_of, widened
from benchmarks.port.costing import add_cost
from benchmarks.port.effects import paired_effect
from benchmarks.port.reference import Reference
from shared.answer import Fit
from shared.errors import InputError, ProcessFailed
from shared.pack import Pack
from shared.reference import Adopted, Train
from shared.search import Term
from tests.checkpoints import TOY
from tests.factories import answer, epoch

WITHOUT, MADE = [0.50, 0.53, 0.49, 0.52, 0.51], [0.55, 0.56, 0.55, 0.53, 0.56]


def test_an_effect_is_the_paired_t_tests() -> None:
    found = paired_effect("dev loss", WITHOUT, MADE)
    differences = np.subtract(MADE, WITHOUT)
    half = stats.t.ppf(0.975, 4) * math.sqrt(differences.var(ddof=1) / 5)
    assert found.effect == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert found.p == pytest.approx(stats.ttest_rel(MADE, WITHOUT).pvalue)
    assert (found.without, found.made) == pytest.approx((np.mean(WITHOUT), np.mean(MADE)))
    assert found.clear == (found.p is not None and found.p < 0.05)


def test_an_effect_without_spread_has_no_interval() -> None:
    found = paired_effect("accuracy", [0.5, 0.5, 0.5], [0.25, 0.25, 0.25])
    assert (found.effect, found.low, found.high, found.p, found.clear) == (-0.25, None, None, 0.0, True)
    assert not paired_effect("accuracy", [0.5, 0.6], [0.5, 0.6]).clear


def test_one_seed_has_no_interval() -> None:
    found = paired_effect("loss", [0.5], [0.75])
    assert (found.effect, found.low, found.p, found.clear) == (0.25, None, None, False)


def test_a_loss_that_is_not_finite_has_no_effect() -> None:
    found = paired_effect("loss", [0.5, 0.6], [0.7, float("nan")])
    assert (found.without, found.made, found.effect, found.clear) == (0.55, None, None, False)


def test_what_is_not_trained_is_told_with_its_reason() -> None:
    made = [
        Adopted(Term("gelu-tanh"), ["layers/0"]),
        Adopted(Term("loss-sum"), ["loss"]),
        Adopted(Term("batches-swapped", (1.0, 0.0))),
        Adopted(Term("loss-smoothed", (0.1,)), ["loss", "gradients"]),
    ]
    kept, left_out = differences_of(Diagnosis(made=made))
    assert [one.term.id for one in kept] == ["gelu-tanh", "loss-smoothed"]
    assert left_out == [
        "the loss is a sum over rows: the gradients are those of the usual loss, so that it costs nothing",
        "batches come in another order 1, 0: each seed draws another order of batches anyway",
    ]


def test_all_layers_of_a_pack_are_all_of_another_network(default_pack: Pack) -> None:
    three = replace(TOY, layers=3)
    every = Adopted(Term("gelu-tanh"), ["head", "layers/1", "layers/0"])
    assert widened(every, default_pack, three).places == ["head", "layers/0", "layers/1", "layers/2"]
    one = Adopted(Term("gelu-tanh"), ["layers/1"])
    assert widened(one, default_pack, three) == one
    everywhere = Adopted(Term("decay-all"))
    assert widened(everywhere, default_pack, three) == everywhere


def checked(*terms: Adopted) -> Checked:
    """A check that found these differences."""
    wrong = RungFound(rung="layers", compared="layers", state="wrong", from_pack=None, by_itself=None)
    causes = [Cause(rungs=["layers"], ids=[[one.term.id]], says=["words"], terms=(one.term,)) for one in terms]
    return Checked(
        pack="0" * 16,
        about="a toy",
        holds=not terms,
        rungs=[wrong],
        mapped=1,
        parameters=1,
        unmatched=[],
        ambiguous=[],
        missing_rungs=[],
        diagnosis=Diagnosis(causes=causes, made=list(terms)),
    )


GELU, CLIP = Adopted(Term("gelu-tanh"), ["layers/0", "layers/1"]), Adopted(Term("clip-none"))


@dataclass
class Trainer:
    """`Reference` that answers a training at once: dev's accuracy falls by 0.1 for each mistake, and a bit by seed."""

    asked: list[Train] = field(default_factory=list)
    fails_at: int = 10**9
    failure: BaseException = field(default_factory=KeyboardInterrupt)
    threads: int = 1

    @property
    def environment(self) -> Any:
        return mock.Mock(versions={"torch": "2"})

    def ask(self, question: Train, kind: type[Fit], on_event: Any) -> Fit:
        if len(self.asked) == self.fails_at:
            raise self.failure
        self.asked.append(question)
        score = 0.8 - 0.1 * len(question.adopted) + 0.001 * question.recipe.seed * (1 + len(question.adopted))
        fit = answer([epoch(1.0, score)])
        return replace_dev(fit, {"loss": 1 - score, "accuracy": score, "mcc": score - 0.1, "f1": score})


def replace_dev(fit: Any, dev: dict[str, float]) -> Any:
    from msgspec import structs

    return structs.replace(fit, epochs=[structs.replace(fit.epochs[0], dev=dev)])


def cost(pack: Pack, out: Path, trainer: Trainer, *terms: Adopted, seeds: int = 3) -> Checked:
    out.mkdir(exist_ok=True)
    asked = CostAsked(seeds=seeds, model="random:bert-tiny", rows=20, epochs=1)
    with mock.patch.object(Reference, "find", return_value=trainer):
        return add_cost(checked(*terms), pack.folder, asked, out, {}, 1)


def test_each_difference_is_trained_and_all_at_once(default_pack: Pack, tmp_path: Path, capsys: Any) -> None:
    trainer = Trainer()
    found = cost(default_pack, tmp_path / "out", trainer, GELU, CLIP).cost
    assert found is not None
    assert [one.ids for one in found.differences] == [["gelu-tanh"], ["clip-none"], ["gelu-tanh", "clip-none"]]
    assert found.seeds == [1, 2, 3]
    effects = {effect.quantity: effect for effect in found.differences[0].effects}
    assert list(effects) == ["training loss", "dev loss", "dev accuracy", "dev mcc", "dev f1"]
    per_seed = [-0.1 + 0.001 * seed for seed in (1, 2, 3)]
    assert effects["dev accuracy"].effect == pytest.approx(np.mean(per_seed))
    interval = stats.ttest_1samp(per_seed, 0.0).confidence_interval(0.95)
    assert (effects["dev accuracy"].low, effects["dev accuracy"].high) == pytest.approx(tuple(interval))
    assert [len(question.adopted) for question in trainer.asked] == [0, 1, 1, 2] * 3
    assert all(question.by_rules for question in trainer.asked)  # clipping is one of the differences
    printed = capsys.readouterr().out
    assert "random:bert-tiny on acceptability (as asked), 20 rows of train, 500 rows of dev, 1 epochs" in printed
    assert "gradients are not clipped: dev loss +0.0980" in printed
    assert "Cost of the differences" in (tmp_path / "out" / "check.md").read_text()
    stored = json.loads((tmp_path / "out" / "check.json").read_text())["cost"]
    assert stored["differences"][0]["effects"][2]["quantity"] == "dev accuracy"


def test_the_recipe_is_the_packs(default_pack: Pack, tmp_path: Path) -> None:
    trainer = Trainer()
    cost(default_pack, tmp_path / "out", trainer, GELU, seeds=2)
    settings, recipe = default_pack.run("train").settings, trainer.asked[0].recipe
    assert (recipe.learning_rate, recipe.clip, recipe.decay) == (settings.learning_rate, settings.clip, settings.decay)
    assert [question.recipe.seed for question in trainer.asked] == [1, 1, 2, 2]
    assert not any(question.by_rules for question in trainer.asked)
    assert len(set(trainer.asked[1].adopted[0].places or [])) == 2  # bert-tiny has two layers too


def test_an_interrupted_cost_shows_and_keeps_what_is_done(default_pack: Pack, tmp_path: Path, capsys: Any) -> None:
    first, out = Trainer(fails_at=5), tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        cost(default_pack, out, first, GELU)
    assert ended.value.code == 130
    printed = capsys.readouterr()
    assert "seeds 1, 2, of 3 that were asked for" in printed.out
    assert "interrupted; trainings that are done are kept in" in printed.err
    again = Trainer()
    found = cost(default_pack, out, again, GELU).cost
    assert found is not None
    assert found.seeds == [1, 2, 3]
    assert len(again.asked) == 1
    assert "done before" in capsys.readouterr().out


def test_a_training_that_fails_keeps_the_others(default_pack: Pack, tmp_path: Path, capsys: Any) -> None:
    trainer = Trainer(fails_at=3, failure=ProcessFailed("the reference: out of memory"))
    with pytest.raises(SystemExit) as ended:
        cost(default_pack, tmp_path / "out", trainer, GELU)
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "out of memory" in printed.err
    assert "seeds 1, of 3" in printed.out
    assert len(json.loads((tmp_path / "out" / "cost.json").read_text())["trainings"]) == 3


def test_without_a_difference_nothing_is_trained(default_pack: Pack, tmp_path: Path, capsys: Any) -> None:
    trainer = Trainer()
    found = cost(default_pack, tmp_path / "out", trainer)
    assert (found.cost, trainer.asked) == (None, [])
    assert "Nothing to train for --cost: no difference was found" in capsys.readouterr().out


def test_a_pack_without_a_tokenizer_takes_minilm(default_pack: Pack, minilm: Path) -> None:
    with chosen_for(default_pack, CostAsked(rows=8), {}, 1) as chosen:
        assert (chosen.model, chosen.question.task.name) == ("minilm", "acceptability")
        assert chosen.trained == "the pack's own network has no tokenizer, so that no text can train it"
        assert chosen.question.checkpoint == minilm
        assert (chosen.question.recipe.learning_rate, chosen.question.recipe.batch_size) == (5e-5, 16)


def test_a_pack_of_a_task_trains_its_own_model(tmp_path: Path) -> None:
    from tests.recordings import run_port

    options = ["--task", "paraphrase", "--model", "random:bert-tiny", "--steps", "2", "--batch-size", "4"]
    assert run_port("pack", *options, "--max-len", "24", "--out", tmp_path / "pack") == 0
    pack = Pack.read(tmp_path / "pack")
    with chosen_for(pack, CostAsked(rows=8), {}, 1) as chosen:
        assert (chosen.model, chosen.question.task.name) == ("random:bert-tiny", "paraphrase")
        assert chosen.trained == "the pack's own model, with a new head"
        assert (chosen.question.checkpoint / "model.safetensors").is_file()
        assert chosen.question.recipe.learning_rate == 2e-5
    gone = chosen_for(pack, CostAsked(task="cola", data_dir=tmp_path / "none"), {}, 1)
    with pytest.raises(InputError), gone:
        pass
