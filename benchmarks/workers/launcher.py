"""Starts a process in a backend's interpreter and waits for its answer: a worker for a job, or a script. The only file
that knows how a job reaches a worker. What comes back is believed only once it is checked."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.workers.environments import CHECKOUT, worker_variables
from benchmarks.workers.processes import POLL_SECONDS, Output, memory_of, running, wait_for
from shared.answer import Event, Trained, TrainerAnswer
from shared.diverging import shown
from shared.errors import ProcessFailed, one_line
from shared.files import from_json
from shared.job import ANSWER, ERROR, EVENTS, Job, spare_folder

if TYPE_CHECKING:
    from benchmarks.workers.progress import RunProgress

LOG = "worker.log"

EVENT_BYTES = 2**20
"""Bytes of events read at once. No event is as long."""

ANSWER_BYTES = 2**26
"""The largest answer that is read, unless the question needs a larger one."""

ERROR_BYTES = 2**12
"""Bytes read of the reason why a job is refused."""

KILLERS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that a process gets from outside."""

NO_MEMORY = re.compile(
    r"MemoryError|out ?of ?memory|can(?:no|')t allocate memory|memory allocation failed|resource_?exhausted|bad_alloc",
    re.I,
)
"""Words of Python, of the frameworks and of their C++ for memory that there is not."""

MEMORY_LINES = 50
"""Last lines of a worker that failed in which they are looked for."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits of a worker. None is none."""

    timeout: float | None = None
    """Longest time that it may run, in seconds."""
    patience: float | None = None
    """Longest time without an event or output, in seconds."""
    memory: int | None = None
    """Most bytes of memory that it may take, with all that it started."""


NO_LIMITS = Limits()


class Killed(ProcessFailed):
    """A worker was killed from outside, which says nothing of its job."""


def ask(name: str, job: Job, python: Path, folder: Path, answer: type[T], progress: RunProgress) -> T:
    """Writes the job into a new folder, runs it and gives its answer. `name` labels the progress lines. Raises
    ProcessFailed."""
    progress.begin(name)
    folder.mkdir()
    job.write(folder)
    try:
        return run_worker(python, folder, job.threads, progress.event, answer)
    except ProcessFailed as failure:
        raise failure.of(name) from None


Turns = Generator[None, None, T]
"""A worker that runs: each turn looks at it once, and the last gives its answer. Closing it ends the worker."""


def run_worker(
    python: Path,
    folder: Path,
    threads: int,
    on_event: Callable[[Event], None],
    answer: type[T],
    module: str = "backends.worker",
    limits: Limits = NO_LIMITS,
    longest: int = ANSWER_BYTES,
) -> T:
    """Runs the job in the folder and gives its answer, of the type that `answer` names and of `longest` bytes at most.
    However this function is left, the worker has ended. A worker that has answered may then end as it likes. `module`
    is another program that answers jobs (a room's `trainer.py`). Raises ProcessFailed."""
    with closing(working(python, folder, threads, on_event, answer, module, limits, longest)) as worker:
        while True:
            try:
                next(worker)
            except StopIteration as end:
                answered: T = end.value
                return answered


def working(
    python: Path,
    folder: Path,
    threads: int,
    on_event: Callable[[Event], None],
    answer: type[T],
    module: str = "backends.worker",
    limits: Limits = NO_LIMITS,
    longest: int = ANSWER_BYTES,
    variables: dict[str, str] | None = None,
) -> Turns[T]:
    """The worker of `run_worker`, with more environment variables. It starts at the first turn, and a turn takes
    POLL_SECONDS at most."""
    output = Output(folder / LOG)
    try:
        settings = worker_variables(threads) | (variables or {})
        with running([python, "-m", module, folder], settings, CHECKOUT) as process:
            events, watch = _follow(folder / EVENTS), _Watch(limits, process.pid)
            while process.poll() is None:
                output.take(process, POLL_SECONDS)
                if found := next(events):
                    watch.heard()
                for event in found:
                    on_event(event)
                watch.look(output.size)
                yield
            output.take(process, 0)
            while found := next(events):
                for event in found:
                    on_event(event)
        place = answered_folder(folder)
        if (place / ANSWER).is_file():
            return read_answer(place / ANSWER, answer, longest)
        raise _failure(process.returncode, folder, output.lines())
    except ProcessFailed as failure:
        failure.tail = () if failure.refused else output.tail
        raise
    finally:
        output.close()


@dataclass
class _Watch:
    """Watches that a worker keeps its limits."""

    limits: Limits
    process: int
    """Its number."""
    printed: int = 0

    def __post_init__(self) -> None:
        self.started = self.last = time.monotonic()

    def heard(self) -> None:
        """The worker gave a sign."""
        self.last = time.monotonic()

    def look(self, printed: int) -> None:
        """Looks at the clock and at the memory; `printed` is the size of the output. Raises ProcessFailed."""
        if printed != self.printed:
            self.printed = printed
            self.heard()
        now, limits = time.monotonic(), self.limits
        if limits.timeout is not None and now - self.started > limits.timeout:
            raise ProcessFailed(f"the worker ran longer than --timeout {limits.timeout:g} s, and was ended")
        if limits.patience is not None and now - self.last > limits.patience:
            raise ProcessFailed(f"the worker gave no sign for --patience {limits.patience:g} s, and was ended")
        if limits.memory is not None and memory_of(self.process) > limits.memory:
            most = f"{limits.memory / 2**20:,.0f} MiB"
            raise ProcessFailed(f"the worker took more memory than --memory {most}, and was ended")


def answered_folder(folder: Path) -> Path:
    """The place of the job's answer and arrays: its folder, or the spare one if that could not take them."""
    return folder if (folder / ANSWER).is_file() else spare_folder(folder)


def read_answer(file: Path, kind: type[T], longest: int = ANSWER_BYTES) -> T:
    """Reads an answer of at most so many bytes. Raises ProcessFailed if it is none of this type."""
    size = file.stat().st_size
    if size > longest:
        raise ProcessFailed(f"the answer {file.name} has {size} bytes, and at most {longest} make sense")
    try:
        return from_json(file.read_bytes(), kind)
    except (ValueError, RecursionError) as error:
        raise ProcessFailed(f"the answer {file.name} is broken ({error})") from None


def check_finished(answer: Trained | TrainerAnswer) -> None:
    """Raises ProcessFailed if the training diverged: its times are of no whole epoch."""
    if isinstance(answer, Trained) and answer.diverged is not None:
        raise ProcessFailed(f"the training {shown(answer.diverged)}: pass a smaller --learning-rate, or another model")


def run_script(
    command: list[Any], answer_file: Path, threads: int, answer: type[T], variables: dict[str, str] | None = None
) -> T:
    """Runs an interpreter with a script and its arguments, `answer_file` after them, and gives the answer that it
    leaves there. However this function is left, the script has ended. Raises ProcessFailed."""
    with running([*command, answer_file], worker_variables(threads) | (variables or {}), CHECKOUT) as process:
        code, output = wait_for(process)
    script = next(Path(part).name for part in map(str, command[1:]) if part not in ("-m", "-P"))
    if code:
        raise ProcessFailed(f"{script} {_ended(code)}", output.tail)
    if not answer_file.is_file():
        raise ProcessFailed(f"{script} ended without an answer", output.tail)
    return read_answer(answer_file, answer)


def _follow(file: Path) -> Iterator[list[Event]]:
    """At each turn, the events that whole new lines of the file hold. Raises ProcessFailed if there are others."""
    position = 0
    while True:
        lines: list[bytes] = []
        if file.is_file():
            with file.open("rb") as stream:
                stream.seek(position)
                text = stream.read(EVENT_BYTES)
            end = text.rfind(b"\n") + 1
            if not end and len(text) == EVENT_BYTES:
                raise ProcessFailed(f"the worker's {file.name} has a line without end")
            position += end
            lines = text[:end].splitlines()
        try:
            yield [from_json(line, Event) for line in lines]  # type: ignore[arg-type]
        except (ValueError, RecursionError) as error:
            raise ProcessFailed(f"the worker's {file.name} is broken ({error})") from None


def _failure(code: int, folder: Path, printed: list[str]) -> ProcessFailed:
    """The failure of a worker that left no answer; `printed` are the last lines of its output."""
    if code == 2 and (folder / ERROR).is_file():
        return ProcessFailed(read_reason(folder / ERROR), refused=True)
    if code == 0:
        return ProcessFailed("the worker ended without an answer")
    if -code in KILLERS:
        return Killed(f"the worker {_ended(code)}")
    if any(map(NO_MEMORY.search, printed[-MEMORY_LINES:])):
        return ProcessFailed("the worker ran out of memory; free some, or pass a smaller --batch-size or --max-len")
    return ProcessFailed(f"the worker {_ended(code)}")


def read_reason(file: Path) -> str:
    """The reason that a worker gives, as it may be shown."""
    with file.open("rb") as stream:
        reason = one_line(stream.read(ERROR_BYTES).decode(errors="replace").strip())
    return reason or "the worker refused its job without a reason"


def _ended(code: int) -> str:
    """The end of a process that did not end well."""
    if code >= 0:
        return f"ended with exit code {code}"
    known = -code in set(signal.Signals)
    name = signal.Signals(-code).name if known else f"signal {-code}"
    return f"was killed by {name}" + ("; the kernel does this when memory runs out" if name == "SIGKILL" else "")
