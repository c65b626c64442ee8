"""Writes the music of earlier sessions that were killed, beside the music that is played.

A process of low priority takes one log after the other, each in a process with limits of time and memory, for a log may
be damaged. One that fails is set aside: a note next to it says why. Of several rtgens that share a folder one does it.
All of it ends with rtgen, and what is left is done the next time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rtgen.rig.kept.journal import SUFFIX
from rtgen.rig.kept.lock import hold, is_held
from rtgen.rig.kept.replay import UNREADABLE, UNWRITABLE, leave
from rtgen.text import plain

FAILED = ".failed"
"""Suffix of the note next to a log that was set aside."""
_LOCK = ".recovering"
_NICE = 19
_LEAST_S, _S_PER_MB, _MOST_S = 60.0, 120.0, 3600.0
"""Timeout for a log: the least, more for its size (ten times what it takes on an idle core), and the most."""
_PATIENCE_S = 2.0
_LONGEST_REASON = 300


class Recovery:
    """Writes the music of killed sessions within a context.

    Args:
        folder: of the logs.
        say: called from a thread with a sentence about a log that was set aside.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        # The session that starts has a log of its own there, and others may be playing.
        if any(not is_held(log) for log in unfinished(self._folder)):
            with suppress(OSError):
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "rtgen.rig.kept.recovery", str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,  # Ctrl-C in the terminal must not reach it
                )
                threading.Thread(target=self._listen, args=(self._process,), name="recovery", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._say(line.strip())


@dataclass(frozen=True, slots=True)
class Logged:
    """A session of a list.

    Args:
        path: of its log.
        bytes: the size of the log.
        music: the name of its `.mid`; what is wrong if there is none.
    """

    path: Path
    bytes: int
    music: str


def sessions_in(folder: Path) -> list[Logged]:
    """Returns the sessions of a folder, as far as it can be read."""
    return [_logged(path) for path in _logs(folder)]


def _logged(path: Path) -> Logged:
    try:
        size = path.stat().st_size
        music = path.with_suffix(".mid")
        if music.exists():
            return Logged(path, size, music.name)
        return Logged(path, size, "damaged" if path.with_suffix(FAILED).exists() else "-")
    except OSError as error:
        return Logged(path, 0, f"cannot be read ({error.strerror})")


def unfinished(folder: Path) -> list[Path]:
    """Returns the logs to recover: without a `.mid`, or with one that is older, and not set aside since."""
    return [path for path in _logs(folder) if not (_follows(path, ".mid") or _follows(path, FAILED))]


def _logs(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.glob(f"*{SUFFIX}"))
    return []


def _follows(log: Path, suffix: str) -> bool:
    """Returns whether the file of that suffix is as new as its log."""
    try:
        return log.with_suffix(suffix).stat().st_mtime >= log.stat().st_mtime
    except OSError:
        return False


# ---- the process ----------------------------------------------------------------------------------------------------


def main(folder: str) -> int:
    """Recovers the logs of a folder until the input ends; prints a line for each that is set aside."""
    if sys.platform != "win32":
        os.nice(_NICE)
    threading.Thread(target=leave, daemon=True).start()
    logs = Path(folder)
    try:
        lock = (logs / _LOCK).open("ab")
    except OSError:
        return 0  # nothing could be written there either
    with lock:
        if not hold(lock):
            return 0
        for log in unfinished(logs):
            if is_held(log):
                continue  # its session is running
            reason = attempt(log)
            if reason is None:
                break
            if reason:
                with suppress(OSError):
                    log.with_suffix(FAILED).write_text(f"{reason}\n", "utf-8")
                print(
                    plain(f"the session log {log} is damaged ({reason}); it was set aside without a .mid"), flush=True
                )
    return 0


def attempt(log: Path, seconds: float | None = None) -> str | None:
    """Writes the music of a log, in a process with limits.

    Args:
        log: its path.
        seconds: the timeout; by its size unless given.

    Returns:
        Why it failed; an empty string if it did not, or None if that is not the fault of the log.
    """
    try:
        size = log.stat().st_size
        limit = seconds or min(_LEAST_S + _S_PER_MB * size / 2**20, _MOST_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "rtgen.rig.kept.replay", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return None
    said: list[str] = []
    # Its input stays open meanwhile: it ends with this process.
    with process:
        listening = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        listening.start()
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"it was not replayed in {limit:.0f} s"
        finally:
            process.kill()
            listening.join(_PATIENCE_S)
    if status == UNWRITABLE:
        return None
    last = said[-1].strip()[:_LONGEST_REASON] if said else f"status {status}"
    return "" if status == 0 else last if status == UNREADABLE else f"replaying it failed: {last}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
