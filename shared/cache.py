"""The cache folder. This module needs nothing but the standard library, as nodes of a cluster have nothing else yet."""

from __future__ import annotations

import os
from pathlib import Path

from shared.errors import InputError


def cache_dir() -> Path:
    """The cache folder, absolute: $CONCORD_CACHE, else `concord` under $XDG_CACHE_HOME or ~/.cache. Raises InputError
    if there is no home folder."""
    try:
        if chosen := os.environ.get("CONCORD_CACHE"):
            return Path(chosen).expanduser().absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "concord"
    except RuntimeError:  # there is no entry for this user
        raise InputError("there is no home folder for the cache; set CONCORD_CACHE to a folder") from None
