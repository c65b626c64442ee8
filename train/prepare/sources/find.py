"""Finds music files: resolves folders, zip archives, globs and files to a list of sources in a fixed order.

A format is a module in this package with a function `read(source) -> Reading`, and a line in `READERS`.
"""

from __future__ import annotations

import glob
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EINVAL
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from stat import S_ISREG
from typing import IO

import fsspec

from rtgen.errors import UserError
from rtgen.music import files
from train.prepare.sources.piece import Reading

READERS = {
    ".mid": "train.prepare.sources.midi",
    ".midi": "train.prepare.sources.midi",
    ".kar": "train.prepare.sources.midi",
    ".rmi": "train.prepare.sources.midi",
    ".als": "train.prepare.sources.als",
    ".rtlog": "train.prepare.sources.log",
}
"""Modules by suffix; a module's `read` turns such a file into pieces."""
MAX_MEMBERS = 2_000_000
"""Archives with more files are refused."""
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError)


@dataclass(frozen=True, slots=True)
class Source:
    """Location of a music file.

    Args:
        root: the file itself, or the folder or archive that contains it; a path, or a URL that fsspec supports.
        member: path within the folder or archive, with forward slashes; empty for a file given by itself.
    """

    root: str
    member: str = ""

    @property
    def song(self) -> str:
        """File name within the set."""
        return self.member or _last(self.root)

    @property
    def name(self) -> str:
        """Name in reports and messages."""
        return f"{_last(self.root)}/{self.member}" if self.member else _last(self.root)

    @property
    def set_name(self) -> str:
        """Name of the set: the folder or archive that contains the file."""
        if self.member:
            return _last(self.root).removesuffix(".zip")
        return _last(os.path.dirname(self.root if "://" in self.root else os.path.abspath(self.root)))  # noqa: PTH100, PTH120

    @property
    def suffix(self) -> str:
        """Suffix in lower case, including the dot."""
        return os.path.splitext(self.song)[1].lower()  # noqa: PTH122  (pathlib.Path takes ten times as long)

    def beside(self, name: str) -> Source:
        """Another file in the same folder."""
        head, slash, _ = (self.member or self.root).rpartition("/")
        return Source(self.root, head + slash + name) if self.member else Source(head + slash + name)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the file as a stream.

        Raises:
            FileNotFoundError: the file does not exist.
            UserError: the file cannot be read, or its archive turns out to be damaged during reading.
        """
        try:
            if self.member and self.root.endswith(".zip"):
                archive = _archive(self.root, os.getpid())
                if self.member not in archive.NameToInfo:
                    raise FileNotFoundError
                with archive.open(self.member) as file:
                    yield file
            else:
                with open_file(f"{self.root}/{self.member}" if self.member else self.root) as file:
                    yield file
        except FileNotFoundError:
            raise
        except _ARCHIVE_ERRORS as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error or "it is truncated"
            raise UserError(f"{self.name} cannot be read ({reason}); copy it again") from error

    def bytes(self) -> bytes | None:
        """Contents of the file; None if it does not exist.

        Raises:
            UserError: the file is too large or cannot be read.
        """
        try:
            with self.open() as file:
                # Read up to the limit, not to the size that an archive states, which may be false.
                data = file.read(files.MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(data) > files.MAX_BYTES:
            raise UserError(f"{self.name} is larger than {files.MAX_BYTES >> 20} MB; leave it out")
        return data

    def state(self) -> tuple[int, float]:
        """Size and modification time (in an archive: CRC), to detect changed files; (0, 0) if they are not known."""
        if self.member and self.root.endswith(".zip"):
            info = _archive(self.root, os.getpid()).NameToInfo[self.member]
            return info.file_size, float(info.CRC)
        if "://" in self.root:
            return 0, 0.0
        found = os.stat(f"{self.root}/{self.member}" if self.member else self.root)  # noqa: PTH116
        return found.st_size, found.st_mtime


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def open_file(path: str) -> IO[bytes]:
    """Opens a path or URL for reading.

    Raises:
        OSError: it cannot be opened, or is a pipe or a device, from which reading might never end.
    """
    if "://" not in path:
        if not S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise OSError(EINVAL, "it is not a regular file")
        return open(path, "rb")  # noqa: PTH123
    file: IO[bytes] = fsspec.open(path, "rb").open()
    return file


@lru_cache(maxsize=8)
def _archive(path: str, process: int) -> zipfile.ZipFile:  # noqa: ARG001  (part of the cache key)
    """Opens an archive, once per process: forked processes would share its file position."""
    try:
        archive = zipfile.ZipFile(open_file(path))
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is not a readable zip archive ({error}); download it again") from error
    if len(archive.NameToInfo) > MAX_MEMBERS:
        raise UserError(f"{path} contains more than {MAX_MEMBERS} files; unpack the ones that you need")
    return archive


def find(names: Sequence[str | Path], left_out: Counter[str] | None = None) -> list[Source]:
    """Finds the music files in `names`, sorted by set and song.

    Archives within a folder are sets of their own. Live's backups of a set are left out, since they are earlier
    versions of the same music.

    Args:
        names: folders, zip archives, globs, files, or URLs of these, as typed by the user.
        left_out: counts files that are not read, by reason.

    Raises:
        UserError: a name does not exist or is not a music file, an archive is damaged, or no music is found.
    """
    told: Counter[str] = Counter() if left_out is None else left_out
    found = {source for name in names for path in _expand(str(name)) for source in _within(path, told)}
    if not found:
        formats = ", ".join(sorted(READERS))
        raise UserError(f"{' and '.join(map(str, names))}: no music files ({formats}) found; choose other files")
    return sorted(found, key=lambda s: (s.set_name, s.song, s.root))


def _expand(name: str) -> list[str]:
    if "://" not in name and any(c in name for c in "*?[") and not os.path.exists(name):  # noqa: PTH110
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
        if not found:
            raise UserError(f"{name} matches no file; check the pattern")
        return [p for p in found if os.path.isdir(p) or _suffix(p) in (".zip", *READERS)]  # noqa: PTH112
    return [name.rstrip("/") or "/"]


def _within(path: str, told: Counter[str]) -> Iterator[Source]:
    folder, members = _members(path)
    if not folder and path.endswith(".zip"):
        for member in _unlogged(_archive(path, os.getpid()).NameToInfo, told):
            if _wanted(member, told):
                yield Source(path, member)
    elif not folder:
        if _suffix(path) not in READERS:
            raise UserError(f"{path} is none of {', '.join(sorted(READERS))}; give a folder, a .zip or such a file")
        yield Source(path)
    else:
        for member in _unlogged(members, told):
            if _suffix(member) == ".zip":
                yield from _within(f"{path}/{member}", told)
            elif _wanted(member, told):
                yield Source(path, member)


def _unlogged(members: Iterable[str], told: Counter[str]) -> Iterator[str]:
    """Drops the `.mid` files of sessions whose logs are present, since they include rtgen's answers."""
    every = list(members)
    logs = {member.removesuffix(".rtlog") for member in every if member.endswith(".rtlog")}
    for member in every:
        if member.removesuffix(".mid") in logs and member.endswith(".mid"):
            told[".mid of a session with a log"] += 1
        else:
            yield member


def _members(path: str) -> tuple[bool, Iterator[str]]:
    """Whether `path` is a folder, and the files in it."""
    if "://" in path:
        system, inner = fsspec.core.url_to_fs(path)
        if not system.exists(inner):
            raise _missing(path)
        root = str(inner).rstrip("/")
        names = (str(p).removeprefix(root).lstrip("/") for p in system.find(inner))
        return bool(system.isdir(inner)), names
    if not os.path.exists(path):  # noqa: PTH110
        raise _missing(path)
    walk = (
        os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")  # noqa: PTH118
        for folder, _, inside in os.walk(path)
        for name in inside
    )
    return os.path.isdir(path), walk  # noqa: PTH112


def _missing(path: str) -> UserError:
    return UserError(f"{path} does not exist; give a music file, a folder or a .zip of them")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _wanted(member: str, told: Counter[str]) -> bool:
    """Whether a file is music, and not a `._` file that macOS adds to archives; counts in `told` what is not."""
    folders, _, name = member.rpartition("/")
    if name.startswith("._") or not name:
        return False
    if _suffix(name) not in READERS:
        told[f"file of another type ({_suffix(name) or 'no suffix'})"] += 1
        return False
    if name.lower().endswith(".als") and folders.rpartition("/")[2] == "Backup":
        told["Live's backup of a set"] += 1
        return False
    return True


def read(source: Source) -> Reading:
    """Reads the pieces in a file.

    Raises:
        UserError: the file cannot be read.
    """
    reading: Reading = import_module(READERS[source.suffix]).read(source)
    return reading
