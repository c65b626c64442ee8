from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

import fsspec
import numpy as np
import pytest

from rtgen.errors import UserError
from tests.train import songs
from train.loops import dataset
from train.loops.storage import Folder
from train.prepare.prepare import prepare
from train.prepare.sources.find import find


def test_a_full_disk_leaves_what_there_was(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    folder.write("a.txt", lambda file: file.write(b"before"))

    def fill(file: IO[bytes]) -> None:
        file.write(b"half of what")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"data cannot be written \(No space left on device\); free some space"):
        folder.write("a.txt", fill)
    assert folder.names() == ["a.txt"]
    assert (tmp_path / "data" / "a.txt").read_bytes() == b"before"
    folder.write("a.txt", lambda file: file.write(b"after"))
    assert (tmp_path / "data" / "a.txt").read_bytes() == b"after"


def test_a_dataset_lies_wherever_fsspec_reaches(tmp_path: Path) -> None:
    folder = songs.folder(tmp_path / "set", 5)
    for path in folder.iterdir():
        with fsspec.open(f"memory://music/set/{path.name}", "wb") as file:
            file.write(path.read_bytes())

    # Other processes do not see this one's memory.
    prepare(find(["memory://music/set"]), "memory://made/loops", engine=lambda work, jobs: [(j, work(j)) for j in jobs])
    prepare(find([folder]), tmp_path / "data")
    far, near = dataset.load("memory://made/loops", "all"), dataset.load(tmp_path / "data", "all")
    assert len(far) == 20
    assert np.array_equal(far.notes, near.notes)
    assert Folder("memory://made/loops").names() == ["loops-00000.parquet", "manifest.json"]
