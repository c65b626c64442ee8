"""A small dataset of our own making."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import songs
from train import prepare
from train.cut import Cutting
from train.sources.find import find


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty songs of eight bars as a dataset; the set is called `set`."""
    folder = tmp_path_factory.mktemp("music")
    prepare.prepare(find([songs.folder(folder / "set", 60)]), folder / "data", Cutting())
    return folder / "data"
