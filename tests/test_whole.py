"""Files appear whole or not at all, whatever ends the program or the power."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtgen import whole
from rtgen.errors import UserError


def test_what_replaces_a_file_is_on_the_disk_before_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(whole, "to_disk", lambda _: seen.append(("file", path.read_text())))
    monkeypatch.setattr(whole, "folder_to_disk", lambda folder: seen.append((folder.name, path.read_text())))
    with whole.written(path) as partial:
        partial.write_text("new")
    assert seen == [("file", "old"), (tmp_path.name, "new")]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with whole.written(path) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="cannot be written"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_and_folders_are_put_on_the_disk_where_that_can_be(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.write(b"x")
        whole.to_disk(file.fileno())
    whole.folder_to_disk(tmp_path)
    whole.folder_to_disk(tmp_path / "nowhere")
