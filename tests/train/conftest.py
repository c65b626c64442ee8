"""A small dataset of our own making."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train import songs
from train.prepare import prepare
from train.prepare.cut import Cutting
from train.prepare.sources.find import find

# Tests run beside each other. Threads that wait for one another on a busy core take a hundred times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty songs of eight bars as a dataset; the set is called `set`."""
    folder = tmp_path_factory.mktemp("music")
    prepare.prepare(find([songs.folder(folder / "set", 60)]), folder / "data", Cutting())
    return folder / "data"
