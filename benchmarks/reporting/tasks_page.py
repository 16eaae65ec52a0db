"""Writes the tables of docs/tasks.md, of tasks and of own data: python -m benchmarks.reporting.tasks_page"""

from __future__ import annotations

import pandas as pd

from benchmarks.cli.own_options import OPTIONS
from benchmarks.reporting.record_tables import SHOWN
from benchmarks.workers.environments import CHECKOUT
from shared.files import write_whole
from shared.tasks import TASK_MODULES, Task, get_task
from shared.tasks.columns import IDS, LABELS, PAIRS, TEXTS
from shared.tasks.glue import SUBMISSIONS
from shared.tasks.own import SPLIT_NAMES
from shared.tasks.table_files import FORMATS

PAGE = CHECKOUT / "docs" / "tasks.md"
BEGIN, END = "<!-- made by python -m benchmarks.reporting.tasks_page: {} -->", "<!-- end -->"
SPLITS = ("train", "dev", "test")


def tasks_table() -> str:
    """A row for each task, in Markdown."""
    return _markdown(pd.DataFrame(_row(get_task(name)) for name in TASK_MODULES))


def own_table() -> str:
    """A row for each part of own data, in Markdown."""
    listed = ", ".join
    texts = listed(f"`{name}`" for name in TEXTS)
    pairs = listed(f"`{first}` `{second}`" for first, second in PAIRS)
    rows = [(" ".join(f"`{ending}`" for ending in known.endings), known.about) for known in FORMATS]
    rows += [
        (f"files of {split}", listed(f"`{name}`" for name in names) + ", each with one of these endings, or in shards")
        for split, names in SPLIT_NAMES.items()
    ]
    rows += [
        (f"texts (`{OPTIONS['text']}`)", f"{texts}; else the one column that is left"),
        (f"pairs (`{OPTIONS['pair']}`)", pairs),
        (f"labels (`{OPTIONS['label']}`)", listed(f"`{name}`" for name in LABELS)),
        (f"names of rows (`{OPTIONS['id']}`)", listed(f"`{name}`" for name in IDS)),
    ]
    return _markdown(pd.DataFrame(rows, columns=["what", "taken"]))


def _row(task: Task) -> dict[str, str]:
    counts = {split: task.counts.get(split) for split in SPLITS}
    return {
        "name": f"`{task.name}`",
        "question": task.about,
        "rows": "pairs" if task.pair else "single",
        **{split: "" if count is None else f"{count:,}" for split, count in counts.items()},
        "labels": ", ".join(task.labels),
        "decided by": SHOWN[task.metrics[0]],
        "GLUE's answer": ", ".join(one.file for one in SUBMISSIONS.get(task.name, ())),
    }


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page_text(text: str) -> str:
    """The page with its tables made again."""
    for name, table in (("tasks", tasks_table()), ("own data", own_table())):
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{PAGE} has no place for the table of {name}")
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def main() -> None:
    write_whole(PAGE, page_text(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
