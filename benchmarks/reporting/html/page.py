"""report.html of a folder: what was asked, charts, tables, and what else the folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.cli.values import as_typed
from benchmarks.reporting.briefs import Brief
from benchmarks.reporting.html.document import Document, Facts, Folded, Lines, Part, Section, parts_of, shown_table
from benchmarks.reporting.html.found import Found
from benchmarks.reporting.html.record_charts import RecordCharts
from benchmarks.reporting.numbers import place_of
from benchmarks.reporting.page import Block, Table
from benchmarks.reporting.record_tables import Tables
from benchmarks.reporting.rows import COMPUTING, SHORT, Rows
from shared.errors import visible
from shared.files import write_whole
from shared.recipe import Recipe
from shared.records import SPLITS

FILE = "report.html"

FOUND = {
    "equivalence.json": "seeds",
    "parity.json": "ladder",
    "check.json": "checks",
    "speed.json": "floors",
}
"""Files that are looked for in a folder and the folders in it, each with the module, and its function, that shows it.
The module is imported if there is something to show."""

MANY = 6
"""Names that a sentence lists; of more it tells the number."""


def write_html(out: Path, tables: Tables | None) -> bool:
    """Writes `report.html` under `out`: these tables of its records, and what else is there. Returns whether there was
    anything to show."""
    document = document_of(out, tables)
    if not document.sections:
        return False
    write_whole(out / FILE, document.html())
    return True


def document_of(out: Path, tables: Tables | None) -> Document:
    """The page of a folder's tables, and of what else it holds."""
    found = list(_found(out))
    others = [one.section for one in found]
    said = [one.said for one in found]
    if tables is None:
        return Document(visible(out.resolve().name), "", said, others)
    rows, blocks = tables.rows, tables.blocks
    records = [record for row in rows.rows for record in row.records]
    shown = {block.title: shown_table(block) for block in blocks if isinstance(block, Table)}
    charts = RecordCharts(rows, tables.raw, shown["Quality"], shown["Speed"])
    pivot = charts.pivot()
    sections = [
        Section("Charts", charts.charts()),
        Section("Tables", [*([pivot] if pivot else []), *parts_of(blocks)]),
        *others,
        Section("Asked", _asked(records, rows)),
    ]
    return Document(_title(records), _lead(records), [*_summary(records, blocks), *said], sections)


def _found(out: Path) -> Iterator[Found]:
    for file, name in FOUND.items():
        paths = [path for path in (out / file, *sorted(out.glob(f"*/{file}"))) if path.is_file()]
        if paths and (found := getattr(import_module(f"benchmarks.reporting.html.{name}"), name)(out, paths)):
            yield found


def _title(records: Sequence[Brief]) -> str:
    models, tasks = ({f(record): None for record in records} for f in (_model, _task))
    return visible(f"{_listed(models, 'models')} on {_listed(tasks, 'tasks')}")


def _lead(records: Sequence[Brief]) -> str:
    days = sorted(record.started[:10] for record in records)
    span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    machines = dict.fromkeys(record.machine.shown for record in records)
    backends = sorted({record.asked.backend for record in records}, key=place_of)
    return visible(f"{', '.join(backends)} · {_listed(machines, 'machines')} · {span}")


def _summary(records: Sequence[Brief], blocks: Sequence[Block]) -> list[str]:
    """Sentences to read before anything else."""
    seeds = len({record.recipe.seed for record in records})
    lines = [
        f"{_count(len(records), 'training')}, {_count(len(set(map(_backend, records))), 'backend')}, "
        f"{_count(seeds, 'seed')}."
    ]
    frame = next((b.frame for b in blocks if isinstance(b, Table) and b.title == "Comparisons"), None)
    if frame is not None:
        scores = frame.loc[:, "seeds":].iloc[:, 1:].drop(columns="epoch time ×", errors="ignore")
        cells = [cell for cell in scores.to_numpy().ravel() if cell != "–"]
        different, equivalent = (sum(mark in cell for cell in cells) for mark in "≠=")
        lines.append(
            f"{_count(len(cells), 'paired difference')} of scores: {different or 'none'} shown to be different at 5 %, "
            f"{equivalent or 'none'} shown to be equivalent."
        )
    diverged = sum(record.diverged is not None for record in records)
    if diverged:
        lines.append(f"{_count(diverged, 'training')} diverged, and {'have' if diverged > 1 else 'has'} no score.")
    packed = sum(record.diverged is None and not record.timed for record in records)
    if packed:
        lines.append(
            f"{_count(packed, 'training')} of {len(records):,} shared {'their' if packed > 1 else 'its'} cores "
            "(--exclusive no): such times mean nothing, and none is shown."
        )
    if len({record.machine.shown for record in records}) > 1:
        lines.append("Several kinds of machine: nothing is averaged over them.")
    noisy = sum(record.disturbed for record in records)
    if noisy:
        lines.append(
            f"{_count(noisy, 'training')} of {len(records):,} were disturbed: do not trust their times, marked `!`."
        )
    return lines


def _asked(records: Sequence[Brief], rows: Rows) -> list[Part]:
    first = records[0]
    own = {**first.recipe.to_json(), **{name: getattr(first.asked, name) for name in COMPUTING}}
    default = Recipe().to_json()
    same = {n: v for n, v in own.items() if n != "seed" and n not in rows.settings and n in default and v != default[n]}
    grid = {
        SHORT.get(name, name): list(dict.fromkeys(str(row.setting(name)) for row in rows.rows))
        for name in rows.settings
    }
    versions: dict[str, list[str]] = {}
    for row in rows.rows:
        versions.setdefault(row.first.asked.backend, [])
        if row.versions() not in versions[row.first.asked.backend]:
            versions[row.first.asked.backend].append(row.versions())
    machines = [record.machine for record in records]
    facts = {
        "Tasks": "; ".join(dict.fromkeys(f"{_task(r.first)} ({_rows(r.first)})" for r in rows.rows)),
        "Models": ", ".join(dict.fromkeys(map(_model, records))),
        **{name: ", ".join(values) for name, values in grid.items()},
        "Seeds": _seeds(sorted({record.recipe.seed for record in records})),
        "Recipe": ", ".join(f"{n} {as_typed(v)}" for n, v in same.items())
        + (", " if same else "")
        + "else the default",
        "Machine": "; ".join(
            dict.fromkeys(f"{m.shown}, {m.memory_bytes / 2**30:.0f} GiB, {m.system}" for m in machines)
        ),
        "Device": ", ".join(dict.fromkeys(f"{row.device()}, {row.first.asked.threads} threads" for row in rows.rows)),
        "Python": ", ".join(sorted({record.python for record in records})),
        **{backend: " or ".join(shown) for backend, shown in versions.items()},
    }
    parts: list[Part] = [Facts({name: visible(fact) for name, fact in facts.items()})]
    notes = Counter(f"{_task(record)}: {note.line}" for record in records for note in record.notes)
    if notes:
        lines = [f"{line} ({_count(count, 'training')})" for line, count in notes.most_common()]
        parts.append(Folded(f"{_count(len(notes), 'note')} on the data and the results", [Lines(lines, listed=True)]))
    return parts


def _rows(record: Brief) -> str:
    return ", ".join(f"{split} {record.rows[split]:,}" for split in ("train", *SPLITS) if split in record.rows)


def _seeds(seeds: list[int]) -> str:
    whole = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _listed(names: Sequence[str] | dict[str, None], what: str) -> str:
    return ", ".join(names) if len(names) <= MANY else f"{len(names)} {what}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _model(record: Brief) -> str:
    return record.model


def _task(record: Brief) -> str:
    return record.asked.task


def _backend(record: Brief) -> str:
    return record.asked.backend
