"""Pushes a report to the Hugging Face hub: tables, report, pictures and records as the repository of a data set."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, DatasetCardData, HfApi
from huggingface_hub.utils import HFValidationError, validate_repo_id

from benchmarks.reporting.tidy import cells_frame, epochs_frame
from shared.errors import InputError
from shared.records import Record, record_path

PATTERNS = ("report.html", "table.csv", "table.md", "published.md", "equivalence.*", "compare.*", "pictures/*.png")
"""Files of a report, as far as they are there. Logits are none of them."""

INTRODUCTION = """# {name}

{count:,} fine-tunings, compared by Concord: `records/` has a JSON file for each, `cells.parquet` a row for each and
`epochs.parquet` a row for each of their epochs. Records hold true labels and predictions by row, and no text of a row.
The data of the tasks have terms of their own.
"""


def check_repository(repository: str) -> None:
    """Raises InputError if the hub has no repositories of such a name."""
    try:
        validate_repo_id(repository)
    except HFValidationError:
        raise InputError(f"--push-to-hub {repository!r} is no name of a repository; pass OWNER/NAME") from None


def push_report(folder: Path, records: Sequence[Record], repository: str) -> str:
    """Makes the data set `repository`, private, if it is not there, and puts what the report has into it as one commit.
    Returns its address. Raises InputError if the hub refuses or cannot be reached."""
    check_repository(repository)
    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in _files(folder, records)
    ]
    try:
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        commit = api.create_commit(
            repository,
            operations,
            repo_type="dataset",
            commit_message=f"Report of {len(records):,} cells",
        )
    except Exception as error:  # errors of its HTTP library pass through huggingface_hub
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"--push-to-hub {repository}: the hub did not take it ({said}); log in with `hf auth login`, and check the "
            "name and the network"
        ) from None
    return str(commit.repo_url)


def _files(folder: Path, records: Sequence[Record]) -> Iterator[tuple[str, bytes | str]]:
    """Names and contents (bytes, or a path) of what is pushed."""
    yield "README.md", _card(folder, records).encode()
    for name, table in (("cells", cells_frame(records)), ("epochs", epochs_frame(records))):
        content = io.BytesIO()
        table.to_parquet(content, index=False)
        yield f"{name}.parquet", content.getvalue()
    for pattern in PATTERNS:
        for path in sorted(folder.glob(pattern)):
            yield path.relative_to(folder).as_posix(), str(path)
    for record in records:
        yield f"records/{record.id}.json", str(record_path(folder, record.id))


def _card(folder: Path, records: Sequence[Record]) -> str:
    """The data set's card: what its viewer reads (YAML), and the tables."""
    configs = [{"config_name": name, "data_files": f"{name}.parquet"} for name in ("cells", "epochs")]
    name = folder.resolve().name
    data = DatasetCardData(pretty_name=name, tags=["concord"], configs=configs)
    tables = (folder / "table.md").read_text(encoding="utf-8")
    return f"---\n{data.to_yaml()}\n---\n\n{INTRODUCTION.format(name=name, count=len(records))}\n{tables}"
