"""Own data: kinds of files, columns, labels, encodings, splits; and small faults, each refused in one line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import InputError
from shared.tasks import Reading, Rows, Task, get_task
from shared.tasks.own import hold_out, is_own
from tests.data import COMMIT, write

TEXTS = ["A goose slept.", "It rained, it poured.", 'He said "no".', "Écoute!"]
WORDS = ["good", "bad", "bad", "good"]
ROWS = Rows(TEXTS, None, [1, 0, 0, 1])
CSV = 'text,label\nA goose slept.,good\n"It rained, it poured.",bad\n"He said ""no"".",bad\nÉcoute!,good\n'
FIELDS = ["A goose slept.", '"It rained, it poured."', '"He said ""no""."', "Écoute!"]
TSV = "text\tlabel\n" + "".join(f"{text}\t{word}\n" for text, word in zip(TEXTS, WORDS, strict=True))
OBJECTS = [{"text": text, "label": word} for text, word in zip(TEXTS, WORDS, strict=True)]
LINES = "".join(json.dumps(row) + "\n" for row in OBJECTS)


def opened(path: Path, **reading: Any) -> tuple[Task, dict[str, Rows]]:
    task = get_task(str(path), Reading(**reading))
    return task, task.load(None)


def train(path: Path, **reading: Any) -> Rows:
    return opened(path, **reading)[1]["train"]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


# --- kinds of files

READ = {
    "csv": ("a.csv", CSV),
    "csv, CRLF, byte-order mark": ("a.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
    "csv, blank last lines, no last newline": ("a.csv", CSV + "\n\r\n  "),
    "csv, semicolons": ("a.csv", CSV.replace(",good", ";good").replace(",bad", ";bad").replace("text,", "text;")),
    "csv, tabs": ("a.csv", CSV.replace(",good", "\tgood").replace(",bad", "\tbad").replace("text,", "text\t")),
    "csv, spaces around labels": ("a.csv", CSV.replace(",good", ", good ")),
    "csv, upper case": ("A.CSV", CSV.replace("text,label", "Text,LABEL")),
    "csv, another order and another column": (
        "a.csv",
        "label,date,text\n" + "".join(f"{word},1,{field}\n" for word, field in zip(WORDS, FIELDS, strict=True)),
    ),
    "tsv": ("a.tsv", TSV),
    "txt": ("a.txt", TSV),
    "json lines": ("a.jsonl", LINES),
    "json lines, blank last line": ("a.ndjson", LINES + "\n"),
    "json lines, more keys": ("a.json", LINES.replace("}\n", ', "more": null}\n')),
    "json array": ("a.json", json.dumps(OBJECTS, indent=2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_a_file_of_every_kind_is_read_alike(tmp_path: Path, kind: str) -> None:
    name, content = READ[kind]
    write(tmp_path, {name: content})
    task, splits = opened(tmp_path / name)
    assert (task.labels, task.pair, task.name) == (("bad", "good"), False, name[0])
    assert splits == {"train": ROWS}
    assert splits["train"].hash == ROWS.hash


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252", "mac_roman"])
def test_a_file_is_read_in_the_encoding_that_is_said(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(CSV.encode(encoding))
    assert train(tmp_path / "a.csv", encoding=encoding) == ROWS


@pytest.mark.parametrize("kind", ["words", "large", "categories", "numbers with names", "booleans"])
def test_parquet_has_labels_of_several_types(tmp_path: Path, kind: str) -> None:
    labels: Any = WORDS
    if kind == "large":
        labels = pa.array(WORDS, pa.large_string())
    if kind == "categories":
        labels = pa.array(WORDS).dictionary_encode()
    if kind == "booleans":
        labels = [word == "good" for word in WORDS]
    file = parquet(tmp_path / "a.parquet", text=TEXTS, label=labels)
    if kind == "numbers with names":
        features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}, "text": {"_type": "Value"}}
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pa.table({"text": TEXTS, "label": [1, 0, 0, 1]}).replace_schema_metadata(about), file)
    task, splits = opened(file)
    assert splits == {"train": ROWS}
    assert task.labels == (("False", "True") if kind == "booleans" else ("bad", "good"))


def test_what_pandas_writes_is_read_back(tmp_path: Path) -> None:
    """Quotes, newlines, separators and a long field."""
    texts = ["a\nb", 'q"q', "c,d;e\tf", "x" * 200_000, "\u2028a \u0085", " lead"]
    frame = pd.DataFrame({"text": texts, "label": [0, 1, 0, 1, 0, 1]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        assert train(tmp_path / f"a.{ending}") == Rows(texts, None, [0, 1, 0, 1, 0, 1])


# --- columns and labels


@pytest.mark.parametrize(
    ("header", "reading", "pair"),
    [
        ("sentence1,sentence2,label", {}, True),
        ("Premise,Hypothesis,gold_label", {}, True),
        ("question,sentence,label", {}, True),
        ("text,text_pair,category", {}, True),
        ("review,stars,label", {}, False),
        ("body,title,kind", {"text": "body", "label": "kind"}, False),
        ("body,title,kind", {"text": "body", "pair": "title", "label": "kind"}, True),
        ("text,sentence,label", {"text": "text"}, False),
        ("id,body,label", {}, False),
    ],
)
def test_columns_are_found_or_named(tmp_path: Path, header: str, reading: dict[str, str], pair: bool) -> None:
    write(tmp_path, {"a.csv": f"{header}\nI,II,x\nIII,IV,y\n"})
    rows = train(tmp_path / "a.csv", **reading)
    first, second = (["I", "III"], ["II", "IV"]) if not header.startswith("id") else (["II", "IV"], None)
    assert rows == Rows(first, second if pair else None, [0, 1])
    if header.startswith("id"):
        assert rows.ids == ["I", "III"]


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (["2", "10", "1"], ("1", "2", "10"), [1, 2, 0]),
        (["1", "-1", "1.0"], ("-1", "1"), [1, 0, 1]),
        (["0", "1", "2"], ("0", "1", "2"), [0, 1, 2]),
        (["b", "a", "Z"], ("Z", "a", "b"), [2, 1, 0]),
        (["True", "False", "True"], ("False", "True"), [1, 0, 1]),
    ],
)
def test_labels_are_numbers_or_words_in_order(
    tmp_path: Path, labels: list[str], names: tuple[str, ...], indices: list[int]
) -> None:
    """run_glue.py sorts them so."""
    write(tmp_path, {"a.csv": "text,label\n" + "".join(f"t{n},{label}\n" for n, label in enumerate(labels))})
    task, splits = opened(tmp_path / "a.csv")
    assert (task.labels, splits["train"].labels) == (names, indices)
    assert task.metrics[0] == "accuracy"
    assert ("f1" in task.metrics) == (len(names) == 2)


# --- splits


def test_a_folder_has_train_dev_and_test(tmp_path: Path) -> None:
    hidden = "text\nOne.\nTwo.\n"
    write(tmp_path / "mine", {"train.csv": CSV, "validation.tsv": TSV, "test.csv": hidden, "notes.md": "x"})
    task, splits = opened(tmp_path / "mine")
    assert (task.name, splits) == ("mine", {"train": ROWS, "dev": ROWS, "test": Rows(["One.", "Two."], None, None)})


def test_the_hubs_layout_of_shards_is_taken(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for n in (1, 0):
        half = slice(2 * n, 2 * n + 2)
        parquet(tmp_path / "data" / f"train-0000{n}-of-00002.parquet", text=TEXTS[half], label=WORDS[half])
    assert train(tmp_path) == ROWS


@pytest.mark.parametrize("hidden", ["-1", "", "None"])
def test_a_test_with_hidden_labels_has_none(tmp_path: Path, hidden: str) -> None:
    write(tmp_path, {"train.csv": CSV})
    if hidden == "None":
        parquet(tmp_path / "test.parquet", text=["a"], label=pa.array([None], pa.string()))
    else:
        write(tmp_path, {"test.csv": f"text,label\na,{hidden}\n"})
    assert opened(tmp_path)[1]["test"] == Rows(["a"], None, None)


def test_a_toml_describes_the_files(tmp_path: Path) -> None:
    said = (
        'name = "mine"\ntrain = ["a.csv", "sub/b.csv"]\ntest = "b.csv"\nlabel = "kind"\nlabels = ["no", "yes", "so"]\n'
    )
    write(
        tmp_path,
        {"task.toml": said + 'encoding = "latin-1"\n', "a.csv": "text,kind\nA,1\n", "b.csv": "text,kind\nB,2\n"},
    )
    write(tmp_path / "sub", {"b.csv": "text,kind\nC,0\n"})
    task, splits = opened(tmp_path)
    assert (task.name, task.labels) == ("mine", ("no", "yes", "so"))
    assert splits == {"train": Rows(["A", "C"], None, [1, 0]), "test": Rows(["B"], None, [2])}
    assert opened(tmp_path / "task.toml")[1] == splits
    write(tmp_path, {"a.csv": "text,kind\nA,yes\n"})
    write(tmp_path / "sub", {"b.csv": "text,kind\nC,no\n"})
    assert opened(tmp_path)[1] == splits


def test_dev_is_a_share_of_every_label(tmp_path: Path) -> None:
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 2
    write(tmp_path, {"a.csv": "text,label\n" + "".join(f"t{n},{label}\n" for n, label in enumerate(labels))})
    splits = opened(tmp_path / "a.csv", dev_share=0.2)[1]
    assert Counter(splits["dev"].labels or []) == {0: 12, 1: 6}
    assert sorted([*splits["train"].first, *splits["dev"].first]) == sorted(f"t{n}" for n in range(92))
    assert opened(tmp_path / "a.csv", dev_share=0.2)[1] == splits
    assert opened(tmp_path / "a.csv", dev_share=0.2, share_seed=1)[1] != splits
    with pytest.raises(InputError, match=r"--dev-share 0.001 of 92 rows leaves none on one side"):
        hold_out(train(tmp_path / "a.csv"), 0.001, 0)


def test_a_changed_file_is_read_again_and_a_damaged_copy(tmp_path: Path, cache: Path) -> None:
    write(tmp_path, {"a.csv": CSV})
    before = train(tmp_path / "a.csv")
    for file in (cache / "own").rglob("first.npy"):
        file.unlink()
    assert train(tmp_path / "a.csv") == before
    write(tmp_path, {"a.csv": CSV.replace("goose", "fox")})
    after = train(tmp_path / "a.csv")
    assert after.first[0] == "A fox slept."
    assert after.hash != before.hash


def test_a_folder_named_as_a_task_hides_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paraphrase").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_own("paraphrase")
    assert is_own("./paraphrase")
    assert not get_task("paraphrase").own


def test_a_name_of_this_projects_tasks_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, {"cola.csv": CSV})
    assert opened(tmp_path / "cola.csv")[0].name == "cola-own"


def test_rows_in_a_file_are_taken_and_cut_as_lists_are(tmp_path: Path) -> None:
    texts = [f"é {n}" for n in range(20_000)]
    rows = train(
        parquet(tmp_path / "a.parquet", text=texts, label=[n % 3 for n in range(20_000)], id=list(range(20_000)))
    )
    plain = Rows(texts, None, [n % 3 for n in range(20_000)], [str(n) for n in range(20_000)])
    some = np.random.default_rng(0).permutation(20_000)[:500]
    for one, other in ((rows, plain), (rows.head(9000), plain.head(9000)), (rows.take(some), plain.take(some))):
        assert one == other
        assert one.ids == other.ids
        assert one.hash == other.hash
    assert rows.take(some).head(7) == plain.take(some).head(7)


# --- faults

FAULTS: dict[str, tuple[str, str | bytes, dict[str, Any], str]] = {
    "ragged row": ("a.csv", CSV + "x,y,z\n", {}, "a.csv, line 6: 3 columns where the header has 2; mend or remove it"),
    "ragged row after a quoted newline": ("a.csv", 'text,label\n"a\nb",x\nc\n', {}, "a.csv, line 4: 1 columns where"),
    "ragged tsv": ("a.tsv", TSV + "x\n", {}, "a.tsv, line 6: 1 columns where the header has 2"),
    "blank line inside": ("a.csv", CSV.replace("bad\n", "bad\n\n", 1), {}, "a.csv, line 4: 0 columns"),
    "quote never closed": ("a.csv", CSV + '"x,good\n', {}, "a.csv, line 6: not CSV (unexpected end of data)"),
    "NUL byte": ("a.csv", CSV + "a\0b,good\n", {}, "a.csv, line 6: a NUL byte; pass --encoding"),
    "wrong encoding": ("a.csv", CSV.encode("latin-1"), {}, "a.csv, line 5: not utf-8; pass --encoding the file's own"),
    "wrong encoding, far down": ("a.tsv", TSV.encode() * 50_000 + b"\xff", {}, "a.tsv, line 250001: not utf-8"),
    "UTF-16": ("a.csv", CSV.encode("utf-16"), {}, "a.csv begins as UTF-16 does; pass --encoding utf-16"),
    "UTF-16 without a mark": ("a.csv", CSV.encode("utf-16-le"), {}, "a.csv, line"),
    "UTF-16 cut short": ("a.csv", CSV.encode("utf-16")[:-1], {"encoding": "utf-16"}, "not utf-16; pass --encoding"),
    "unknown encoding": ("a.csv", CSV, {"encoding": "utf-9"}, "unknown encoding 'utf-9'; pass one such as"),
    "no text encoding": ("a.csv", CSV, {"encoding": "rot13"}, "unknown encoding 'rot13'"),
    "empty file": ("a.csv", "", {}, "a.csv is empty; give it a header and rows"),
    "blank file": ("a.tsv", "\n \n", {}, "a.tsv is empty"),
    "empty json": ("a.jsonl", "\n", {}, "a.jsonl is empty; give it an object a line"),
    "header only": ("a.csv", "text,label\n", {}, "a.csv has no rows; add some"),
    "no header": ("a.csv", "A goose slept.,1\nHe left.,0\n", {}, "none has a usual name of the label among its column"),
    "no label column": ("a.csv", "text,stars\na,1\n", {}, "none has a usual name of the label among its columns 'text"),
    "no text column": ("a.csv", "x,y,label\na,b,1\n", {}, "none has a usual name of the text among its columns 'x', '"),
    "two texts": ("a.csv", "text,sentence,label\na,b,1\n", {}, "'text' and 'sentence' could each be the text among"),
    "two labels": ("a.csv", "text,label,class\na,b,1\n", {}, "'label' and 'class' could each be the label among"),
    "duplicate column": ("a.csv", "text,text,label\na,b,1\n", {}, "its header has 'text' twice; rename one"),
    "named column missing": ("a.csv", CSV, {"text": "body"}, "has no column 'body' for --text-column; it has 'text', "),
    "pair without text": ("a.csv", CSV, {"pair": "text"}, "--pair-column text: pass --text-column too"),
    "one column twice": ("a.csv", CSV, {"text": "text", "pair": "text"}, "one column is given for two things"),
    "mixed labels": ("a.csv", CSV + "b,1\n", {}, "mix numbers and words, such as 1 (line 6) and 'good' (line 2)"),
    "a score for a label": ("a.csv", "text,label\na,0.5\n", {}, "line 2: label '0.5' in 'label' is neither a word nor"),
    "an empty label": ("a.csv", CSV + "b,\n", {}, "a.csv, line 6: no label in 'label'"),
    "one label": ("a.csv", "text,label\na,x\nb,x\n", {}, "every row has the label 'x' in 'label'; add rows of another"),
    "too many labels": (
        "a.csv", "text,label\n" + "".join(f"a,l{n}\n" for n in range(1001)), {}, "'label' has more than 1,000 labels;",
    ),
    "an empty text": ("a.csv", CSV + " ,good\n", {}, "a.csv, line 6: 'text' is empty; mend or remove it"),
    "broken json line": ("a.jsonl", LINES + '{"text": "a", \n', {}, "a.jsonl, line 5: not JSON ("),
    "json line of a list": ("a.jsonl", LINES + "[1]\n", {}, "a.jsonl, line 5: no JSON object"),
    "json line without a key": ("a.jsonl", LINES + '{"text": "a"}\n', {}, "a.jsonl, line 5: it has no label"),
    "json null": ("a.jsonl", LINES + '{"text": null, "label": "bad"}\n', {}, "a.jsonl, line 5: 'text' is null"),
    "json number for a text": ("a.jsonl", LINES + '{"text": 5, "label": "bad"}\n', {}, "line 5: 'text' is int, no tex"),
    "json list for a label": ("a.jsonl", LINES + '{"text": "a", "label": ["x"]}\n', {}, "line 5: label ['x'] in 'labe"),
    "json half a surrogate": ("a.jsonl", LINES + '{"text": "\\ud800", "label": "bad"}\n', {}, "a.jsonl, line 5: "),
    "json array half a surrogate": ("a.json", '[{"text": "\\ud800", "label": "bad"}]', {}, "row 1: 'text' is no Unico"),
    "broken json array": ("a.json", '[{"text": "a"}', {}, "a.json is not valid JSON ("),
    "json object": ("a.json", '{"data": [\n{"text": "a"}]}', {}, "a.json, line 1: not JSON ("),
    "no parquet": ("a.parquet", "PAR1", {}, "a.parquet is no Parquet file ("),
    "another ending": ("a.xlsx", "PK", {}, "a.xlsx is none of .csv, .tsv, .txt, .jsonl, .ndjson, .json, .parquet"),
    "toml: unknown key": ("task.toml", 'train = "a"\ntexts = "b"\n', {}, "task.toml: Object contains unknown field `t"),
    "toml: broken": ("task.toml", "train = ", {}, "task.toml: Invalid value (at end of document)"),
    "toml: missing file": ("task.toml", 'train = "a.csv"\n', {}, "a.csv, which is no file; mend the path"),
    "toml: no train": ("task.toml", 'dev = "a.csv"\n', {}, "missing required field `train`"),
    "toml: a label twice": ("task.toml", 'train = "task.toml"\nlabels = ["a", "a"]\n', {}, "list two or more, each on"),
    "toml: a share of 2": ("task.toml", 'train = "task.toml"\ndev_share = 2.0\n', {}, "dev_share is 2.0; pass a share"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    name, content, reading, complaint = FAULTS[fault]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        opened(tmp_path / name, **reading)
    message = str(error.value)
    assert complaint in message
    assert "\n" not in message
    assert name in message or "--" in message or "encoding" in message


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"text": ["a", None], "label": [0, 1]}, "a.parquet, row 2: 'text' is null; mend or remove it"),
        ({"text": ["a", "b"], "label": [0, None]}, "a.parquet, row 2: no label in 'label'"),
        ({"text": [1, 2], "label": [0, 1]}, "a.parquet, row 1: 'text' is int, no text"),
        ({"text": ["a", "b"], "label": [0.5, 1.0]}, "row 1: label 0.5 in 'label' is neither a word nor a whole number"),
        ({"text": ["a", "b"], "label": [[0], [1]]}, "row 1: label [0] in 'label' is no single label"),
        ({"text": [], "label": []}, "a.parquet has no rows; add some"),
        ({"body": ["a"], "head": ["b"], "label": [1]}, "none has a usual name of the text"),
    ],
)
def test_a_fault_of_parquet_is_refused(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as error:
        opened(parquet(tmp_path / "a.parquet", **columns))
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"dev.csv": CSV}, "has no train file; add train{.csv,.tsv,.txt,.jsonl,.ndjson,.json,.parquet}"),
        ({"train.csv": CSV, "train.tsv": TSV}, "has several files for train: train.csv, train.tsv; keep one"),
        ({"train.csv": CSV, "dev.csv": CSV, "valid.csv": CSV}, "has several files for dev: dev.csv, valid.csv"),
        ({"train.csv": CSV, "dev.csv": CSV + "x,ugly\n"}, "dev.csv, line 6: label 'ugly' in 'label' is not one of bad"),
        ({"train.csv": CSV, "dev.csv": CSV + "x,\n"}, "dev.csv, line 6: no label in 'label', which other rows have"),
        ({"train.csv": CSV, "dev.csv": "body,label\na,good\n"}, "dev.csv has no column 'text', which train has; add i"),
        ({"train.csv": CSV, "test.csv": "text\n"}, "test.csv has no rows"),
    ],
)  # fmt: skip
def test_a_fault_of_a_folder_is_refused(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    write(tmp_path, files)
    with pytest.raises(InputError) as error:
        opened(tmp_path)
    assert complaint in str(error.value)


def test_dev_comes_from_one_place(tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": CSV, "dev.csv": CSV})
    with pytest.raises(InputError, match="has a dev file, and --dev-share asks for rows of train; pass one of the two"):
        opened(tmp_path, dev_share=0.5)


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere/data.csv is no file or folder; pass a task of cola, "):
        get_task("nowhere/data.csv")


# --- the hub


def served(monkeypatch: pytest.MonkeyPatch, splits: datasets.DatasetDict) -> list[Any]:
    asked: list[Any] = []

    def load_dataset(repository: str, **where: Any) -> datasets.DatasetDict:
        asked.append((repository, where))
        return splits

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def of_hub(labels: list[int]) -> datasets.Dataset:
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": labels})
    return rows.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))


def test_a_data_set_of_the_hub_is_taken_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = datasets.DatasetDict(
        {"train": of_hub([1, 0, 0, 1]), "validation": of_hub([1] * 4), "test": of_hub([-1] * 4)}
    )
    asked = served(monkeypatch, splits)
    task = get_task("hub:someone/reviews:english")
    assert asked == [("someone/reviews", {"name": "english", "revision": COMMIT})]
    assert (task.name, task.labels) == ("someone-reviews-english", ("bad", "good"))
    assert task.load(None) == {"train": ROWS, "dev": Rows(TEXTS, None, [1] * 4), "test": Rows(TEXTS, None, None)}
    assert {rows.commit for rows in task.load(None).values()} == {COMMIT}
    get_task("hub:someone/reviews")
    assert asked[-1] == ("someone/reviews", {"name": None, "revision": COMMIT})


def test_what_the_hub_cannot_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, datasets.DatasetDict({"all": of_hub([1, 0, 0, 1])}))
    with pytest.raises(InputError, match=r"hub:someone/reviews has no split train; it has all: pass its files"):
        get_task("hub:someone/reviews")

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("Config name is missing.\nPick one among: a, b")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    complaint = (
        r"hub:someone/reviews cannot be taken from the hub \(ValueError: Config name is missing\.\); pass hub:OWNER"
    )
    with pytest.raises(InputError, match=complaint):
        get_task("hub:someone/reviews")
