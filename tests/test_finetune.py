"""The training loop, with a softmax regression on word counts: a model small enough to check by hand."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

import shared.finetune
from shared.answer import DevScored, EpochEnded, Event, Fit, Programs, Stepped, Working
from shared.architecture import Weights
from shared.batching import Batch, make_batch
from shared.contract import Gradients, HiddenStates
from shared.encoding import Encoded
from shared.errors import InputError
from shared.finetune import STEPS_AHEAD, Run, finetune, predict
from shared.recipe import Recipe

VOCABULARY = 12
RECIPE = Recipe(max_len=8, batch_size=4, epochs=3, learning_rate=0.1)


class SoftmaxRegression:
    """The contract's Model: plain gradient descent in float64, losses that stay unread until they are called for."""

    def __init__(self, rates: Callable[[float], float] = lambda rate: rate, width_multiple: int = 1) -> None:
        self.width_multiple = width_multiple
        self.kernel: np.ndarray = np.zeros((VOCABULARY, 2))
        self.rates = rates
        self.batches: list[Batch] = []
        self.predicted: list[int] = []
        """The width of each batch."""
        self.learning_rates: list[float] = []
        self.taken: list[tuple[float, int]] = []
        self.calls: list[str] = []
        self.unread = 0
        self.most_unread = 0

    def train_step(self, batch: Batch, learning_rate: float) -> Callable[[], tuple[float, int]]:
        counts, target = word_counts(batch), np.eye(2)[batch.labels]
        log_probabilities = log_softmax(counts @ self.kernel, axis=1)
        result = (
            float(-(target * log_probabilities).sum(axis=1).mean()),
            int((log_probabilities.argmax(axis=1) == batch.labels).sum()),
        )
        self.kernel -= self.rates(learning_rate) * counts.T @ (np.exp(log_probabilities) - target) / len(batch.labels)
        self.batches.append(batch)
        self.learning_rates.append(learning_rate)
        self.taken.append(result)
        self.calls.append("train_step")
        self.unread += 1
        self.most_unread = max(self.most_unread, self.unread)

        def read() -> tuple[float, int]:
            self.unread -= 1
            return result

        return read

    def predict(self, batch: Batch) -> np.ndarray:
        self.calls.append("predict")
        self.predicted.append(batch.input_ids.shape[1])
        return (word_counts(batch) @ self.kernel).astype(np.float32)

    def gradients(self, batch: Batch) -> Gradients:
        raise AssertionError("training asks for no gradients")

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        raise AssertionError("training asks for no hidden states")

    def weights(self) -> Weights:
        return {"kernel": self.kernel.copy()}

    def set_weights(self, weights: Weights) -> None:
        self.kernel = weights["kernel"].copy()

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "kernel", self.kernel

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.kernel = state["kernel"]

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def peak_memory(self) -> int:
        return 4096


class Compiling(SoftmaxRegression):
    """Tells of half a second for each shape of a training batch."""

    def programs(self) -> Programs:
        shapes = {batch.input_ids.shape for batch in self.batches}
        return Programs(compiled=len(shapes), from_cache=0, seconds=0.5 * len(shapes))


def word_counts(batch: Batch) -> np.ndarray:
    one_hot = np.eye(VOCABULARY)[batch.input_ids] * batch.attention_mask[..., None]
    counts: np.ndarray = one_hot.sum(axis=1)
    return counts


def make_split(rows: int, seed: int, labelled: bool = True) -> Encoded:
    """Rows of 2 to 7 words, whose label follows from their words and some noise."""
    random = np.random.RandomState(seed)
    lengths = random.randint(2, 8, size=rows)
    texts = [random.randint(1, VOCABULARY, size=n) for n in lengths]
    votes = np.array([np.where(text % 2, 1.0, -1.0).sum() for text in texts])
    labels = (votes + random.normal(0, 2, size=rows) > 0).astype(np.int64)
    return Encoded(
        ids=np.concatenate(texts).astype(np.int32),
        types=np.zeros(lengths.sum(), np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=labels if labelled else np.full(rows, -1, np.int64),
        pad_id=0,
    )


def data(train: int = 10, test_labelled: bool = True) -> dict[str, Encoded]:
    return {"train": make_split(train, 0), "dev": make_split(9, 1), "test": make_split(11, 2, test_labelled)}


def run(
    recipe: Recipe = RECIPE,
    splits: dict[str, Encoded] | None = None,
    model: SoftmaxRegression | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> tuple[Run, SoftmaxRegression]:
    """Fine-tunes the model. Returns it too."""
    model = model or SoftmaxRegression()
    return finetune(model, splits or data(), recipe, ("accuracy", "mcc"), on_event), model


def fit(recipe: Recipe = RECIPE, splits: dict[str, Encoded] | None = None) -> Fit:
    """Fine-tunes a new model, and gives the answer alone."""
    return run(recipe, splits)[0].fit


def counts_of(split: Encoded) -> np.ndarray:
    """Word counts of every row, by a loop that shares nothing with the code under test."""
    counts = np.zeros((len(split.labels), VOCABULARY))
    for row in range(len(split.labels)):
        for word in split.ids[split.offsets[row] : split.offsets[row + 1]]:
            counts[row, word] += 1
    return counts


def test_losses_and_accuracies_come_in_the_order_of_the_steps() -> None:
    """They are read some steps later."""
    answer, model = run(replace(RECIPE, epochs=4), data(train=50))
    assert model.most_unread > 1
    assert len(answer.fit.step_loss) == answer.fit.total_steps == 52
    assert answer.fit.step_loss == [loss for loss, _ in model.taken]
    sizes = [len(batch.labels) for batch in model.batches]
    assert answer.fit.step_accuracy == [correct / n for (_, correct), n in zip(model.taken, sizes, strict=True)]


def test_a_limited_number_of_steps_runs_ahead() -> None:
    """None is left unread in the end."""
    _, model = run(splits=data(train=200))
    assert model.most_unread == STEPS_AHEAD + 1  # the one that was just taken, and those before it
    assert model.unread == 0


def test_a_short_epoch_is_read_whole() -> None:
    """It has fewer steps than may run ahead."""
    answer, model = run()
    assert [epoch.steps for epoch in answer.fit.epochs] == [3, 3, 3]
    assert model.unread == 0
    assert len(answer.fit.step_loss) == 9


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.25, 1.0])
def test_rates_climb_from_zero_and_fall_linearly_to_zero(warm_up: float) -> None:
    answer, model = run(replace(RECIPE, warm_up=warm_up, epochs=8))
    total = answer.fit.total_steps
    assert total == 24
    climbing = int(warm_up * total)
    corners = [0, climbing, total] if climbing else [0, total]
    heights = [0.0, RECIPE.learning_rate, 0.0] if climbing else [RECIPE.learning_rate, 0.0]
    np.testing.assert_allclose(model.learning_rates, np.interp(np.arange(total), corners, heights), rtol=1e-12)


def test_a_constant_schedule_climbs_and_then_stays() -> None:
    _, model = run(replace(RECIPE, schedule="constant", warm_up=0.5, epochs=4))
    np.testing.assert_allclose(
        model.learning_rates, np.interp(np.arange(12), [0, 6], [0.0, RECIPE.learning_rate]), rtol=1e-12
    )


def received_hash(model: SoftmaxRegression) -> str:
    """sha256 over every step's shapes, ids, types, mask, labels and rate, from what the model itself saw."""
    digest = hashlib.sha256()
    for batch, rate in zip(model.batches, model.learning_rates, strict=True):
        rows, width = batch.input_ids.shape
        for array in (batch.input_ids, batch.token_type_ids, batch.attention_mask):
            digest.update(f"('<i4', ({rows}, {width}))".encode() + array.astype("<i4").tobytes())
        digest.update(f"('<i8', ({rows},))".encode() + batch.labels.astype("<i8").tobytes())
        digest.update(rate.hex().encode())
    return digest.hexdigest()


def test_each_epoch_tells_its_time_on_programs() -> None:
    found, model = run(replace(RECIPE, padding="longest"), model=Compiling())
    new: list[int] = []
    seen: set[tuple[int, ...]] = set()
    for start in range(0, len(model.batches), 3):
        shapes = {batch.input_ids.shape for batch in model.batches[start : start + 3]}
        new.append(len(shapes - seen))
        seen |= shapes
    assert new[0] > 1
    assert [epoch.program_seconds for epoch in found.fit.epochs] == [0.5 * count for count in new]
    assert [epoch.program_seconds for epoch in fit().epochs] == [0.0, 0.0, 0.0]


def test_no_earlier_step_runs_behind_a_new_program() -> None:
    _, model = run(replace(RECIPE, padding="longest"), model=Compiling())
    steps = [number for number, call in enumerate(model.calls) if call == "train_step"]
    seen: set[tuple[int, ...]] = set()
    for number, batch in zip(steps, model.batches, strict=True):
        if batch.input_ids.shape not in seen:
            assert model.calls[number - 1] == "synchronize"
        seen.add(batch.input_ids.shape)


def test_received_is_the_hash_of_what_every_step_was_given() -> None:
    answer, model = run()
    assert answer.fit.received == received_hash(model)


def test_received_is_the_same_for_the_same_question() -> None:
    assert fit().received == fit().received


def test_received_changes_with_whatever_a_step_is_given() -> None:
    """Order, labels, words, rate and padding."""
    flipped, other_word = data(), data()
    flipped["train"] = replace(flipped["train"], labels=1 - flipped["train"].labels)
    other_word["train"] = replace(other_word["train"], ids=np.roll(other_word["train"].ids, 1))
    received = [
        fit().received,
        fit(replace(RECIPE, seed=2)).received,
        fit(splits=flipped).received,
        fit(splits=other_word).received,
        fit(replace(RECIPE, learning_rate=0.1000001)).received,
        fit(replace(RECIPE, padding="longest")).received,
    ]
    assert len(set(received)) == len(received)


def test_received_does_not_depend_on_the_model() -> None:
    assert run(model=SoftmaxRegression(lambda rate: 0.0))[0].fit.received == fit().received


@pytest.mark.parametrize(
    ("last_batch", "sizes"),
    [
        ("keep", [[4, 4, 2], [4, 4, 2], [4, 4, 2]]),
        ("drop", [[4, 4], [4, 4], [4, 4]]),
        ("rollover", [[4, 4], [4, 4, 4], [4, 4]]),  # 10 rows; 2 carried + 10; 10
    ],
)
def test_a_short_last_batch_is_kept_dropped_or_rolled_over(last_batch: str, sizes: list[list[int]]) -> None:
    answer, model = run(replace(RECIPE, last_batch=last_batch))  # type: ignore[arg-type]
    assert [epoch.steps for epoch in answer.fit.epochs] == [len(epoch) for epoch in sizes]
    assert [epoch.rows for epoch in answer.fit.epochs] == [sum(epoch) for epoch in sizes]
    assert [len(batch.labels) for batch in model.batches] == [size for epoch in sizes for size in epoch]
    assert answer.fit.total_steps == len(model.batches)


@pytest.mark.parametrize("last_batch", ["drop", "rollover"])
def test_a_split_too_small_for_one_step_an_epoch_is_refused(last_batch: Literal["drop", "rollover"]) -> None:
    with pytest.raises(InputError, match="3 training rows make no batch of 4; pass a smaller batch_size"):
        run(replace(RECIPE, last_batch=last_batch), data(train=3))


def test_a_model_gets_the_widths_that_it_asks_for() -> None:
    """Padded tokens are counted at these widths."""
    recipe = replace(RECIPE, padding="longest")
    tight, plain = run(recipe)
    wide, model = run(recipe, model=SoftmaxRegression(width_multiple=3))
    widths = [batch.input_ids.shape[1] for batch in model.batches]
    assert widths == [min(8, -(-batch.input_ids.shape[1] // 3) * 3) for batch in plain.batches]
    assert {width for width in widths if width % 3} <= {8}
    assert wide.fit.step_loss == tight.fit.step_loss
    assert sum(epoch.padded_tokens for epoch in wide.fit.epochs) == sum(batch.input_ids.size for batch in model.batches)
    assert wide.fit.epochs[0].padded_tokens > tight.fit.epochs[0].padded_tokens
    assert [epoch.tokens for epoch in wide.fit.epochs] == [epoch.tokens for epoch in tight.fit.epochs]
    assert wide.logits["test"].tolist() == tight.logits["test"].tolist()
    assert {width for width in model.predicted if width % 3} <= {8}


def test_epochs_count_real_and_padded_tokens() -> None:
    splits = data()
    real = int((splits["train"].offsets[1:] - splits["train"].offsets[:-1]).sum())
    padded, model = run(splits=splits)
    assert [epoch.tokens for epoch in padded.fit.epochs] == [real] * 3
    assert [epoch.padded_tokens for epoch in padded.fit.epochs] == [10 * RECIPE.max_len] * 3
    tight, model = run(replace(RECIPE, padding="longest"), splits)
    widest = [int(batch.attention_mask.sum(axis=1).max()) * len(batch.labels) for batch in model.batches]
    assert [epoch.tokens for epoch in tight.fit.epochs] == [real] * 3
    assert [epoch.padded_tokens for epoch in tight.fit.epochs] == [sum(widest[i : i + 3]) for i in (0, 3, 6)]


def test_without_padding_epochs_count_real_tokens_alone() -> None:
    """The adapter receives what it receives with padding to the longest."""
    longest, model = run(replace(RECIPE, padding="longest"), data(), Compiling())
    none, other = run(replace(RECIPE, padding="none"), data(), Compiling())
    assert none.fit.received == longest.fit.received
    assert [batch.input_ids.tolist() for batch in other.batches] == [b.input_ids.tolist() for b in model.batches]
    assert [epoch.padded_tokens for epoch in none.fit.epochs] == [epoch.tokens for epoch in none.fit.epochs]
    assert sum(epoch.first_tokens for epoch in none.fit.epochs) < sum(
        epoch.first_tokens for epoch in longest.fit.epochs
    )
    assert none.fit.epochs[0].padded_tokens < longest.fit.epochs[0].padded_tokens


def test_an_epochs_loss_and_accuracy_weigh_rows_alike() -> None:
    """A short last batch weighs less than a full one."""
    answer, model = run()
    for number, epoch in enumerate(answer.fit.epochs):
        steps = slice(3 * number, 3 * number + 3)
        sizes = np.array([len(batch.labels) for batch in model.batches[steps]])
        losses = np.array([loss for loss, _ in model.taken[steps]])
        assert epoch.train_loss == pytest.approx((losses * sizes).sum() / 10)
        assert epoch.train_accuracy == pytest.approx(sum(correct for _, correct in model.taken[steps]) / 10)


def test_scores_and_logits_are_those_of_the_last_weights() -> None:
    splits = data()
    answer, model = run(splits=splits)
    assert answer.fit.kept_epoch == 3
    for name, scores in (("dev", answer.fit.epochs[-1].dev), ("test", answer.fit.test)):
        logits = counts_of(splits[name]) @ model.kernel
        np.testing.assert_allclose(answer.logits[name], logits, rtol=1e-6)
        assert scores is not None
        assert scores["accuracy"] == accuracy_score(splits[name].labels, logits.argmax(axis=1))
        probabilities = np.exp(log_softmax(logits, axis=1))
        assert scores["loss"] == pytest.approx(log_loss(splits[name].labels, probabilities, labels=[0, 1]), rel=1e-6)


def test_predictions_come_in_the_splits_order() -> None:
    """Padding may sort the rows in between."""
    split = make_split(23, 5)
    model = SoftmaxRegression()
    model.kernel = np.random.RandomState(3).normal(size=(VOCABULARY, 2))
    expected = counts_of(split) @ model.kernel
    for padding in ("max_length", "longest", "bucket"):
        logits = predict(model, split, replace(RECIPE, padding=padding))
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-6)


def test_an_error_in_assembling_a_batch_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised in the place of that batch."""

    def broken(data: Encoded, rows: np.ndarray, recipe: Recipe, width_multiple: int) -> Batch:
        if 7 in rows:
            raise RuntimeError("row 7")
        return make_batch(data, rows, recipe, width_multiple)

    monkeypatch.setattr(shared.finetune, "make_batch", broken)
    model, threads = SoftmaxRegression(), set(threading.enumerate())
    with pytest.raises(RuntimeError, match="row 7"):
        run(replace(RECIPE, shuffle=False), data(train=20), model)
    assert len(model.batches) == 1  # rows 0 to 3
    assert set(threading.enumerate()) <= threads
    with pytest.raises(RuntimeError, match="row 7"):
        predict(model, make_split(9, 1), RECIPE)
    assert set(threading.enumerate()) <= threads


def test_a_step_that_fails_leaves_no_thread_behind() -> None:
    class Failing(SoftmaxRegression):
        def train_step(self, batch: Batch, learning_rate: float) -> Callable[[], tuple[float, int]]:
            if len(self.batches) == 2:
                raise MemoryError
            return super().train_step(batch, learning_rate)

    threads = set(threading.enumerate())
    with pytest.raises(MemoryError):
        run(splits=data(train=200), model=Failing())
    assert set(threading.enumerate()) <= threads


def overshooting(rate: float) -> float:
    """Descends if the rate is high, else climbs: the best epoch is not the last."""
    return rate if rate > 0.05 else -40 * rate


def test_keep_best_tests_the_weights_of_the_best_epoch() -> None:
    recipe = replace(RECIPE, epochs=6, keep="best", warm_up=0.0)
    splits = data(train=40) | {"dev": make_split(60, 1)}
    answer, model = run(recipe, splits, SoftmaxRegression(overshooting))
    scores = [epoch.dev["accuracy"] for epoch in answer.fit.epochs if epoch.dev]
    assert answer.fit.kept_epoch == int(np.argmax(scores)) + 1 < 6
    assert scores[-1] < max(scores)
    # The same run, cut off after its best epoch, ends with the weights that are to be tested.
    stopped = SoftmaxRegression(overshooting)
    for batch, rate in list(zip(model.batches, model.learning_rates, strict=True))[: 10 * answer.fit.kept_epoch]:
        stopped.train_step(batch, rate)
    np.testing.assert_array_equal(model.kernel, stopped.kernel)
    for name in ("dev", "test"):
        np.testing.assert_allclose(answer.logits[name], counts_of(splits[name]) @ stopped.kernel, rtol=1e-6)


def test_keep_last_tests_the_last_weights_of_the_same_run() -> None:
    splits = data(train=40)
    answer, model = run(replace(RECIPE, epochs=6, warm_up=0.0), splits, SoftmaxRegression(overshooting))
    assert answer.fit.kept_epoch == 6
    np.testing.assert_allclose(answer.logits["test"], counts_of(splits["test"]) @ model.kernel, rtol=1e-6)


def test_of_equally_good_epochs_the_first_is_kept() -> None:
    answer, _ = run(replace(RECIPE, keep="best"), model=SoftmaxRegression(lambda rate: 0.0))
    assert answer.fit.kept_epoch == 1


def test_keep_best_without_dev_labels_is_refused() -> None:
    """Nothing is trained before."""
    model = SoftmaxRegression()
    splits = data() | {"dev": make_split(9, 1, labelled=False)}
    with pytest.raises(InputError, match="keep best needs a dev split with labels; pass keep last"):
        run(replace(RECIPE, keep="best"), splits, model)
    assert model.batches == []


def test_an_unlabelled_test_split_is_predicted_and_not_scored() -> None:
    splits = data(test_labelled=False)
    answer, model = run(splits=splits)
    assert answer.fit.test is None
    np.testing.assert_allclose(answer.logits["test"], counts_of(splits["test"]) @ model.kernel, rtol=1e-6)


def test_an_unlabelled_dev_split_is_not_scored() -> None:
    answer, _ = run(splits=data() | {"dev": make_split(9, 1, labelled=False)})
    assert [epoch.dev for epoch in answer.fit.epochs] == [None, None, None]
    assert len(answer.logits["dev"]) == 9


def test_a_task_without_test_split_has_no_test_score() -> None:
    splits = data()
    del splits["test"]
    answer, _ = run(splits=splits)
    assert answer.fit.test is None
    assert answer.logits.keys() == {"dev"}


def test_dev_is_looked_at_before_the_first_step_if_asked() -> None:
    answer, model = run(replace(RECIPE, eval_before=True))
    assert model.calls.index("predict") < model.calls.index("train_step")
    assert answer.fit.dev_before is not None
    assert answer.fit.dev_before["loss"] == pytest.approx(np.log(2))  # weights that are zero know nothing
    untouched, model = run()
    assert untouched.fit.dev_before is None
    assert model.calls.index("train_step") < model.calls.index("predict")
    assert untouched.fit.received == answer.fit.received


def test_timed_parts_begin_and_end_with_the_device_at_rest() -> None:
    """These are the epochs, the first step and the evaluations."""
    _, model = run(replace(RECIPE, epochs=2))
    epoch = ["synchronize", *["train_step"] * 3, "synchronize"]
    dev, test = ["synchronize", *["predict"] * 3], ["synchronize", *["predict"] * 3]
    first = [*epoch[:2], "synchronize", *epoch[2:]]
    assert model.calls == [*first, *dev, *epoch, *dev, *test]


def test_the_first_step_is_part_of_the_first_epoch() -> None:
    answer, _ = run()
    assert 0 < answer.fit.first_step_seconds < answer.fit.epochs[0].seconds
    assert answer.first_step_at > 0


def test_peak_memory_is_what_the_model_says() -> None:
    assert fit().peak_memory_bytes == 4096


def test_events_report_every_epoch_and_the_steps_in_order() -> None:
    events: list[Event] = []
    answer, _ = run(replace(RECIPE, eval_before=True), data(train=200), on_event=events.append)
    assert next(event for event in events if not isinstance(event, Working)) == DevScored(answer.fit.dev_before)
    ended = [event for event in events if isinstance(event, EpochEnded)]
    assert [(event.number, event.of) for event in ended] == [(1, 3), (2, 3), (3, 3)]
    assert [event.epoch for event in ended] == answer.fit.epochs
    steps = [event for event in events if isinstance(event, Stepped)]
    assert steps
    for event in steps:
        assert event.of == answer.fit.total_steps
        assert event.loss == answer.fit.step_loss[event.step - 1]


def test_evaluations_and_first_steps_give_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker that is slow looks like one that hangs."""
    monkeypatch.setattr(shared.finetune, "PROGRESS_SECONDS", 0.0)
    events: list[Event] = []
    run(replace(RECIPE, epochs=1), data(train=200), on_event=events.append)
    signs = [(event.what, event.number, event.of) for event in events if isinstance(event, Working)]
    first = [("first steps", step, 50) for step in range(1, STEPS_AHEAD + 1)]
    dev, test = ([(f"evaluation on {split}", n, 3) for n in (1, 2, 3)] for split in ("dev", "test"))
    assert signs == [*first, *dev, *test]
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert steps == list(range(1, 50 - STEPS_AHEAD + 1))


def test_full_batches_reach_the_optimum_of_logistic_regression() -> None:
    """The rate is constant."""
    splits = data(train=80)
    recipe = replace(RECIPE, batch_size=80, epochs=1500, learning_rate=0.3, schedule="constant", warm_up=0.0)
    answer, _ = run(recipe, splits)
    counts, labels = counts_of(splits["train"]), splits["train"].labels
    reference = LogisticRegression(penalty=None, fit_intercept=False, tol=1e-10, max_iter=10000).fit(counts, labels)
    optimum = log_loss(labels, reference.predict_proba(counts))
    assert answer.fit.step_loss[0] == pytest.approx(np.log(2))
    assert optimum <= answer.fit.step_loss[-1] < optimum + 1e-3


class Diverging(SoftmaxRegression):
    """Something becomes NaN, or infinite, after so many steps: the loss, the logits, or a weight that nothing uses."""

    def __init__(self, what: str, steps: int, value: float = float("nan")) -> None:
        super().__init__()
        self.what, self.steps, self.value = what, steps, value

    @property
    def broken(self) -> bool:
        return len(self.batches) >= self.steps

    def train_step(self, batch: Batch, learning_rate: float) -> Callable[[], tuple[float, int]]:
        read = super().train_step(batch, learning_rate)
        return (lambda: (self.value, read()[1])) if self.what == "loss" and self.broken else read

    def predict(self, batch: Batch) -> np.ndarray:
        logits = super().predict(batch)
        if self.what == "logits" and self.broken:
            logits[0, 1] = self.value
        return logits

    def weights(self) -> Weights:
        unused = self.value if self.what == "weights" and self.broken else 0.0
        return super().weights() | {"unused": np.array([0.0, unused], np.float32)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(
    ("what", "steps", "seen", "whole"),
    [
        ("loss", 1, 1, 0),
        ("loss", 4, 4, 1),  # in an epoch that is shorter than what runs ahead
        ("logits", 4, 6, 1),  # not before dev is looked at
        ("weights", 4, 9, 3),  # not before the end
    ],
)
def test_a_training_that_diverges_is_never_scored(
    what: str, steps: int, seen: int, whole: int, keep: Literal["best", "last"], value: float
) -> None:
    events: list[Event] = []
    answer, _ = run(replace(RECIPE, keep=keep), model=Diverging(what, steps, value), on_event=events.append)
    sound = fit(replace(RECIPE, keep=keep))
    found = answer.fit
    assert (found.diverged, found.kept_epoch, found.kept, found.test, answer.logits) == (seen, 0, None, None, {})
    assert [epoch.dev for epoch in found.epochs] == [epoch.dev for epoch in sound.epochs[:whole]]
    assert len([event for event in events if isinstance(event, EpochEnded)]) == whole
    assert found.step_loss == sound.step_loss[: len(found.step_loss)]
    assert len(found.step_accuracy) == len(found.step_loss) == (seen - 1 if what == "loss" else seen)
    assert found.total_steps == 9
    assert found.peak_memory_bytes == 4096
    assert len(found.steady_epoch_seconds()) == whole


def test_a_training_that_diverges_ends_soon_and_waits_for_none() -> None:
    """The losses are read as late as ever."""
    model = Diverging("loss", 40)
    answer, _ = run(splits=data(train=400), model=model)
    assert answer.fit.diverged == 40
    assert len(model.batches) == 40 + STEPS_AHEAD
    assert model.most_unread == STEPS_AHEAD + 1
    assert all("prefetch" not in thread.name for thread in threading.enumerate())


def test_logits_that_are_not_finite_before_the_first_step() -> None:
    answer, model = run(replace(RECIPE, eval_before=True), model=Diverging("logits", 0))
    assert (answer.fit.diverged, answer.fit.dev_before, answer.fit.epochs, model.batches) == (0, None, [], [])


def test_a_test_split_without_finite_logits_is_no_score() -> None:
    class Late(Diverging):
        def predict(self, batch: Batch) -> np.ndarray:
            self.what = "logits" if len(batch.labels) == 3 else ""  # test's last batch: dev's has one row
            return super().predict(batch)

    answer, _ = run(model=Late("", 0))
    assert (answer.fit.diverged, answer.fit.test, len(answer.fit.epochs)) == (9, None, 3)


def test_a_recording_goes_on_through_nan() -> None:
    """There a NaN is a finding, which the ladder names."""
    answer = finetune(Diverging("loss", 4), data(), RECIPE, ("accuracy",), lambda event: None, stop=False)
    assert (answer.fit.diverged, len(answer.fit.step_loss), answer.fit.kept_epoch) == (None, 9, 3)
    assert np.isnan(answer.fit.step_loss).sum() == 6


class SlowToCompile(SoftmaxRegression):
    """Takes longer at the first batch of each shape, and tells nobody, as XLA and torch.compile do."""

    def train_step(self, batch: Batch, learning_rate: float) -> Callable[[], tuple[float, int]]:
        if batch.input_ids.shape not in {earlier.input_ids.shape for earlier in self.batches}:
            time.sleep(0.05)
        return super().train_step(batch, learning_rate)


def test_the_first_step_of_every_shape_is_told_apart() -> None:
    """A short last batch is a shape too. Each is waited for, before and after."""
    model = SlowToCompile()
    answer = finetune(model, data(train=30), RECIPE, ("accuracy",), lambda event: None, compiled=True).fit
    first, *later = answer.epochs
    assert (first.first_tokens, [epoch.first_tokens for epoch in later]) == ((4 + 2) * 8, [0, 0])
    assert 0.1 < first.first_seconds < first.seconds
    assert [epoch.first_seconds for epoch in later] == [0.0, 0.0]
    assert answer.first_step_seconds < first.first_seconds
    steady = answer.steady_epoch_seconds()
    assert steady[1:] == [epoch.seconds for epoch in later]
    others = 3 * 30 * 8 - first.first_tokens
    pace = (sum(epoch.seconds for epoch in answer.epochs) - first.first_seconds) / others
    assert steady[0] == pytest.approx(first.seconds - first.first_seconds + pace * first.first_tokens)
    steps = [number for number, call in enumerate(model.calls) if call == "train_step"]
    for number in (steps[0], steps[7]):
        assert (model.calls[number - 1], model.calls[number + 1]) == ("synchronize", "synchronize")
    plain = finetune(SlowToCompile(), data(train=30), RECIPE, ("accuracy",), lambda event: None).fit
    assert [epoch.first_seconds for epoch in plain.epochs] == [0.0, 0.0, 0.0]
