"""Options that say where a sweep runs, and the engine that they choose."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.values import yes_or_no
from shared.errors import InputError

if TYPE_CHECKING:
    from benchmarks.cells.engine import Engine
    from benchmarks.cluster.engine import RayEngine

RETRIES = 2

OF_RAY = ("address", "exclusive", "retries", "shared_dir")
"""Options that have a meaning with `--engine ray` alone."""

OF_ENGINE = ("engine", *OF_RAY)
"""The options that `add_engine_options` adds."""


def add_engine_options(parser: argparse.ArgumentParser, exclusive: str = "yes") -> None:
    """Adds `--engine` and the options of the engine `ray`, with this default of `--exclusive`."""
    group = parser.add_argument_group(
        "engine", "One machine, or a Ray cluster (docs/cluster.md). The others are for --engine ray."
    )
    group.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="this machine, one after another; or a cluster"
    )
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        help="the cluster's HOST:PORT, or auto for the one of this machine's node (auto)",
    )
    group.add_argument(
        "--exclusive",
        type=yes_or_no,
        metavar="yes|no",
        help="whether what runs on a node has its cores, or a GPU, to itself, and the cells of one question a node. "
        f"With no all is packed as tight as its threads fit, and times mean nothing ({exclusive})",
    )
    group.add_argument(
        "--retries", type=int, metavar="N", help=f"how often what ran on a lost node starts again ({RETRIES})"
    )
    group.add_argument(
        "--shared-dir",
        type=Path,
        metavar="DIR",
        help="a folder that every node sees: data and checkpoints come from it, and another node goes on with a cell "
        "from its last --checkpoint-every (through Ray's object store, and from the start)",
    )


@contextmanager
def chosen_engine(options: argparse.Namespace) -> Iterator[Engine]:
    """Gives the engine that is asked for, for the time of the block. Raises InputError."""
    from benchmarks.cells.engine import LOCAL

    with chosen_cluster(options) as cluster:
        yield LOCAL if cluster is None else cluster


@contextmanager
def chosen_cluster(options: argparse.Namespace, exclusive: bool = True) -> Iterator[RayEngine | None]:
    """Gives the cluster that is asked for, for the time of the block; None for this machine. `exclusive` is the default
    of that option. Raises InputError."""
    given = [name for name in OF_RAY if getattr(options, name) is not None]
    if options.engine == "local":
        if given:
            raise InputError(f"--{given[0].replace('_', '-')} is for --engine ray; pass that too")
        yield None
        return
    retries = RETRIES if options.retries is None else options.retries
    if retries < 0:
        raise InputError(f"--retries {retries}: pass 0 or more")
    if options.shared_dir is not None and not options.shared_dir.is_dir():
        raise InputError(f"--shared-dir {options.shared_dir}: there is no such folder; pass one that every node sees")
    from benchmarks.cluster.cluster import Sharing
    from benchmarks.cluster.engine import ray_engine

    shared = options.shared_dir.absolute() if options.shared_dir is not None else None
    alone = exclusive if options.exclusive is None else options.exclusive
    with ray_engine(options.address or "auto", Sharing(alone, retries, shared)) as engine:
        yield engine
