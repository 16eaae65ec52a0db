"""The cluster that tests share, and the interpreter whose workers wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.cluster.clusters import Quick, cluster_of, make_quick


@pytest.fixture(scope="session")
def cluster(cache: Path) -> Iterator[Cluster]:
    """Two nodes. A test that loses one starts another."""
    with cluster_of(2) as made:
        yield made


@pytest.fixture
def ray_options(cluster: Cluster) -> tuple[str, ...]:
    return ("--engine", "ray", "--address", cluster.address)


@pytest.fixture
def quick(tmp_path: Path) -> Quick:
    return make_quick(tmp_path / "quick")
