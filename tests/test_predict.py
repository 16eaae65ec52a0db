"""benchmarks.predict: the texts it reads, the input it refuses, the lines it prints for known logits; and with real
workers, that the backends agree with one another and with transformers."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from backends import BACKENDS
from benchmarks.predict import output
from benchmarks.predict.__main__ import main
from benchmarks.predict.output import Prediction, Shown
from benchmarks.predict.texts import rows_of
from benchmarks.workers import launcher
from benchmarks.workers.environments import CHECKOUT
from shared.answer import Predicted
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import write_folder
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import first_weights
from shared.errors import InputError, ProcessFailed
from shared.job import ARRAYS, Job
from shared.recipe import Recipe
from shared.tasks import Rows
from tests.opened import opened

LABELS = ("no", "yes", "perhaps")
MAX_LEN = 12

FIRST = ["A goose.", "We met the baker of the town, who had no bread.", "No.", "The kettle sings.", "Écoute-moi!"]
SECOND = ["No.", "There was bread.", "Yes, and yes, and yes again to all of it.", "A noise?", "[bold]"]
PAIRS = "".join(f"{first}\t{second}\n" for first, second in zip(FIRST, SECOND, strict=True))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved classifier of random weights, large enough that texts get different answers."""
    source, recipe = resolve_model("random:bert-tiny"), Recipe(max_len=MAX_LEN)
    architecture = read_architecture(source, recipe, len(LABELS))
    weights = first_weights(source, architecture, recipe)
    for name, array in weights.items():
        if array.ndim == 2 and "embeddings" not in name:
            weights[name] = array * np.float32(10 if name == "classifier.weight" else 8)
    folder = tmp_path_factory.mktemp("saved") / "model"
    write_folder(folder, weights, architecture, source, "toy", LABELS, MAX_LEN)
    return folder


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the classifier, to be spoilt."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


def exit_code(*arguments: str | Path) -> int:
    """Runs the command; 0 if it ends well."""
    try:
        main(["--threads", "1", "--device", "cpu", *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


# --- texts


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"one\ntwo\n", Rows(["one", "two"], None, None)),
        (b"one\ntwo\n\n", Rows(["one", "two"], None, None)),
        (b"a\tb\n\r\n  \n", Rows(["a"], ["b"], None)),
        (b"one\ntwo", Rows(["one", "two"], None, None)),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", Rows(["one", "two"], None, None)),
        ("a\u2028b\n".encode(), Rows(["a\u2028b"], None, None)),
        (b'say "a"\tb\nc\td\n', Rows(['say "a"', "c"], ["b", "d"], None)),
    ],
)
def test_a_file_has_a_text_or_a_pair_a_line(content: bytes, rows: Rows) -> None:
    assert rows_of(content, Path("f")) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f has no texts; give it one a line"),
        (b"one\n\ntwo\n", "f, line 2: the line is empty; mend or remove the line"),
        (b"one\n  \ntwo\n", "f, line 2: column 1 is empty; mend or remove the line"),
        (b"a\tb\nc\t\n", "f, line 2: column 2 is empty; mend or remove the line"),
        (b"one\na\tb\n", "f, line 2: 2 columns where line 1 has 1; mend or remove the line"),
        (b"a\tb\none\n", "f, line 2: 1 columns where line 1 has 2; mend or remove the line"),
        (
            b"a\tb\tc\n",
            "f, line 1: 3 columns where a text, or two with a tab between, are wanted; mend or remove the line",
        ),
        (b"one\n\xff\n", "f, line 2: not UTF-8; convert the file"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        rows_of(content, Path("f"))
    assert str(error.value) == message


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "c"], "3 texts: pass one, or two as a pair; more go into a --file, one a line"),
        (["a", " "], "a text is empty; pass one with words"),
        (["a\udcff"], r"'a\udcff' is not UTF-8; convert or rename it"),
        (["a", "--file", "f"], "texts and --file: pass one of the two"),
        (["--backend", "torch", "keras", "a", "--file", "f"], "texts and --file: pass one of the two"),
        (["a", "--backend", "torch", "b"], "'b' and 'a' stand apart; pass the texts side by side"),
        (["--file", "/no/such"], "--file /no/such cannot be read (No such file or directory); pass another"),
        ([], "no texts; pass one or two, or --file, or pipe them in"),
        (["--backend", "jax", "a"], f"unknown backend 'jax'; known: {', '.join(BACKENDS)}, all"),
        (["a", "--device", "tpu"], "--device 'tpu' is none of auto, cpu, cuda and cuda:N"),
        (["a", "--threads", "0"], "--threads 0: pass 1 to "),
        (["a", "--max-len", "3"], "max_len is 3; pass 4 to 1,048,576"),
        (["a", "--max-len", "513"], "max_len is 513, but the model in "),
        (["a", "--model", "bert"], "unknown model 'bert'; pass a folder, "),
        (["a", "--model", "random:bert-tiny"], "config.json is not of a fine-tuned classifier (architectures: none); "),
        (["a", "--python", "torch=/no/such/python"], "--python torch=/no/such/python: there is no such interpreter"),
        (["a", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
    ],
)
def test_bad_input_gets_one_line(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO()))
    assert exit_code("--model", model, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("benchmarks.predict: error: ")
    assert message in line


def test_empty_standard_input_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert exit_code("--model", model) == 2
    assert capsys.readouterr().err == "benchmarks.predict: error: standard input has no texts; give it one a line\n"


# --- the model


def change_config(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def drop_the_head(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if "classifier" not in name}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "{} has no model.safetensors; add the checkpoint's"),
        (lambda folder: (folder / "vocab.txt").unlink(), "{} has no tokenizer.json and no vocab.txt; add the"),
        (lambda folder: (folder / "config.json").unlink(), "{}/config.json is missing; pass a folder in HuggingFace's"),
        (
            drop_the_head,
            "{} lacks the weights classifier.weight, classifier.bias of a classifier; fine-tune it with benchmarks.run",
        ),
        (lambda folder: change_config(folder, model_type="roberta"), "{}/config.json: model_type is 'roberta'; this"),
        (lambda folder: change_config(folder, id2label={"0": "a", "1": "b"}), "classifier.weight has shape [3, 128]"),
        (lambda folder: change_config(folder, type_vocab_size=1), "{} has type_vocab_size 1, and the input has pairs;"),
    ],
)
def test_a_model_that_cannot_answer_is_refused(
    copy: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copy)
    assert exit_code("--model", copy, "a", "b") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmarks.predict: error: ")
    assert message.format(copy) in line


def test_a_folder_of_models_is_refused_with_one_of_them(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--save leaves such a folder."""
    assert exit_code("--model", model.parent, "a") == 2
    error = capsys.readouterr().err
    assert error == (
        f"benchmarks.predict: error: {model.parent} holds no model itself, but folders of models; pass one, such as "
        f"{model}\n"
    )


# --- answers with known logits

LOGITS = {
    "torch": np.array([[0.5, 2.0, -1.0], [3.0, 3.0, -2.0]], np.float32),
    "gluon": np.array([[0.5, 2.0, -1.0], [3.0, 3.0, -2.1]], np.float32),
    "keras": np.array([[0.5, 2.1, -1.0], [3.0, 3.0, -2.0]], np.float32),
}
TEXTS = "The\u2028kettle.\nA goose slept.\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Job]:
    """Answers with LOGITS in the workers' place, reads TEXTS from standard input, and collects the jobs."""
    jobs: list[Job] = []

    def answer(python: Path, folder: Path, *_: Any) -> Predicted:
        jobs.append(Job.read(folder))
        np.savez(folder / ARRAYS, texts=LOGITS[jobs[-1].backend])
        return Predicted(import_seconds=1.0, load_seconds=0.5)

    monkeypatch.setattr(launcher, "run_worker", answer)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXTS.encode())))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return jobs


def test_a_text_gets_the_label_of_the_largest_softmax(
    model: Path, asked: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("--model", model) == 0
    expected = softmax(LOGITS["torch"].astype(np.float64), axis=1)
    printed = capsys.readouterr()
    assert printed.out == (
        f"yes\t{expected[0, 1]:.6f}\tThe\u2028kettle.\n"
        f"no\t{expected[1, 0]:.6f}\tA goose slept.\n"  # of equal logits the first
    )
    assert printed.err == "[1/1] torch\n    loaded in 1.5 s\n"
    assert list(tmp_path.iterdir()) == []
    (job,) = asked
    assert (job.labels, job.recipe) == (LABELS, Recipe(max_len=MAX_LEN, padding="longest"))


def test_json_holds_the_backend_and_every_label(
    model: Path, asked: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("--model", model, "--backend", "torch", "keras", "--format", "json", "--file", "-") == 0
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.removesuffix("\n").split("\n")]
    in_order = [(backend, text) for text in TEXTS[:-1].split("\n") for backend in ("torch", "keras")]
    assert [(answer["backend"], answer["text"]) for answer in found] == in_order
    for answer in found:
        row = TEXTS.split("\n").index(answer["text"])
        expected = softmax(LOGITS[answer["backend"]][row].astype(np.float64))
        assert list(answer["probabilities"]) == list(LABELS)
        assert list(answer["probabilities"].values()) == pytest.approx(expected, rel=1e-12)
        assert answer["label"] == LABELS[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), rel=1e-12)
        assert "second" not in answer
    exact = np.stack([softmax(LOGITS[backend].astype(np.float64), axis=1) for backend in ("torch", "keras")])
    largest = np.abs(exact[0] - exact[1]).max()
    line = printed.err.splitlines()[-1]
    assert line == f"largest difference of a probability between torch, keras: {largest:.1e}"


def test_lines_of_several_backends_begin_with_the_backend(
    model: Path, asked: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    """--all adds every label's probability."""
    assert exit_code("--model", model, "--all", "--backend", *LOGITS) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.removesuffix("\n").split("\n")]
    assert [line[0] for line in lines] == [*LOGITS, *LOGITS]
    for number, line in enumerate(lines):
        expected = softmax(LOGITS[line[0]][number // len(LOGITS)].astype(np.float64))
        assert line[2:6] == [f"{p:.6f}" for p in (expected.max(), *expected)]
        assert line[6:] == [TEXTS.split("\n")[number // len(LOGITS)]]


def test_a_text_with_tabs_and_newlines_stays_on_its_line(
    model: Path, asked: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LOGITS, "torch", LOGITS["torch"][:1])
    assert exit_code("--model", model, "--backend", "torch", "a\tb\r\nc", "d") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t")[2:] == ["a b  c", "d"]


def test_a_table_has_a_line_a_text_cut_to_fit(
    model: Path, asked: list[Job], monkeypatch: pytest.MonkeyPatch, shown: Console
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{'a' * 200}\nGeese.\n".encode())))
    assert exit_code("--model", model, "--format", "table", "--all") == 0
    head, _, first, second = lines_of(shown)
    assert head.split() == ["text", "label", "probability", *LABELS]
    assert re.fullmatch(r"a+…  yes       0\.785597  0\.175290  0\.785597  0\.039113", first)
    assert re.fullmatch(r"Geese\. + no        0\.498321  0\.498321  0\.498321  0\.003358", second)


def test_a_text_cannot_control_the_terminal(shown: Console) -> None:
    """Markup in it is shown as text."""
    text = "\x1b[31mthe [red]goose[/red]\nslept"
    output.print_table([Prediction("torch", (text,), {"no": 1.0})], Shown(backend=False, every_label=False))
    _, _, line = lines_of(shown)
    assert line == "[31mthe [red]goose[/red] slept  no        1.000000"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console in place of the terminal."""
    console = Console(file=io.StringIO(), width=60)
    monkeypatch.setattr(output, "terminal", lambda: console)
    return console


def lines_of(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]


# --- workers that fail


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ProcessFailed("the worker ended with exit code 1", ("first", "MemoryError: no room")), 1),
        (ProcessFailed("thing; remedy", refused=True), 2),
    ],
)
def test_a_worker_that_fails_is_shown_with_its_last_lines(
    model: Path,
    asked: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    failure: ProcessFailed,
    code: int,
) -> None:
    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(launcher, "run_worker", fail)
    assert exit_code("--model", model, "a") == code
    printed = capsys.readouterr()
    assert printed.out == ""
    tail = [f"  | {line}" for line in failure.tail]
    assert printed.err.splitlines() == ["[1/1] torch", f"benchmarks.predict: torch: {failure}", *tail]
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_not_finite_are_refused(
    model: Path, asked: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LOGITS, "torch", np.full((2, 3), np.nan, np.float32))
    assert exit_code("--model", model) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == (
        f"benchmarks.predict: error: {model}: torch computes NaN or infinity with its weights; mend them"
    )


def test_an_interruption_leaves_nothing(
    model: Path, asked: list[Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "run_worker", interrupt)
    assert exit_code("--model", model, "a") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "benchmarks.predict: interrupted; nothing is kept"
    assert list(tmp_path.iterdir()) == []


# --- from end to end


@dataclass
class Answered:
    """The real command with every backend on PAIRS, piped in."""

    left: list[Path]
    """This project's files that remain in the folder for temporary files and in the cache."""
    probabilities: dict[str, np.ndarray]
    """Probabilities by backend, [pairs, labels]."""
    answers: list[dict[str, Any]]
    stderr: str


@pytest.fixture(scope="module")
def answered(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    scratch, cache = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-m", "benchmarks.predict", "--threads", "1", "--device", "cpu", "--model", str(model)]
    variables = {"PYTHONPATH": str(CHECKOUT), "TMPDIR": str(scratch), "CONCORD_CACHE": str(cache)}
    finished = subprocess.run(
        [*command, "--backend", "all", "--format", "json"],
        input=PAIRS.encode(),
        capture_output=True,
        env=os.environ | variables | {"PYTHONIOENCODING": "ascii"},
    )
    stderr = finished.stderr.decode()
    assert finished.returncode == 0, stderr
    answers = [json.loads(line) for line in finished.stdout.decode().splitlines()]
    found: dict[str, list[list[float]]] = {backend: [] for backend in BACKENDS}
    for answer in answers:
        found[answer["backend"]].append(list(answer["probabilities"].values()))
    # XLA leaves programs there, which hold no text.
    left = [*scratch.glob("concord*"), *(path for path in cache.iterdir() if path.name != "xla")]
    return Answered(left, {b: np.array(rows) for b, rows in found.items()}, answers, stderr)


def test_every_backend_answers_every_pair_in_order(answered: Answered) -> None:
    pairs = [(first, second) for first, second in zip(FIRST, SECOND, strict=True) for _ in BACKENDS]
    assert [(answer["text"], answer["second"]) for answer in answered.answers] == pairs
    assert [answer["backend"] for answer in answered.answers] == [*BACKENDS] * len(FIRST)


def test_the_backends_agree(answered: Answered) -> None:
    of_torch = answered.probabilities["torch"]
    assert np.ptp(of_torch, axis=0).max() > 0.1  # or it would not matter which text is which
    largest = max(np.abs(found - of_torch).max() for found in answered.probabilities.values())
    assert largest < 1e-5
    shown = re.search(
        rf"^largest difference of a probability between {', '.join(BACKENDS)}: (\S+)$", answered.stderr, re.M
    )
    assert shown
    assert largest <= float(shown[1]) * 1.1 < 1e-5


def test_the_answers_are_transformers_own(model: Path, answered: Answered) -> None:
    ((logits, names, shape),) = opened([model], FIRST, SECOND)
    assert (names, shape) == (list(LABELS), [len(FIRST), MAX_LEN])
    expected = softmax(np.array(logits), axis=1)
    np.testing.assert_allclose(answered.probabilities["torch"], expected, rtol=0, atol=1e-5)
    of_torch = [answer["label"] for answer in answered.answers if answer["backend"] == "torch"]
    assert of_torch == [names[n] for n in expected.argmax(axis=1)]


def test_nothing_is_left_and_texts_that_may_be_cut_are_counted(answered: Answered) -> None:
    assert answered.left == []
    assert re.match(r"4 of 5 inputs fill 12 tokens: longer ones are cut \(--max-len\)\n", answered.stderr)
