"""The session log (journal): every event and every message sent, so that a session can be replayed.

The file is append-only and survives the death of the process; at most the last half second is lost. After `_MAGIC` come
records that each start with a letter:

    H u32 JSON              the settings of the session; once, at the start
    N f64                   time passed, up to then (seconds of a steady clock)
    R f64 u8 u16 bytes      bytes arrived at an input
    E f64 u32 JSON          another event
    S u16 bytes             a message was sent
    T f64 u16 bytes         a message was sent that leaves at a later time
    P f64 i64               where the song was at a time, in ticks; below 0: it did not roll
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from errno import EIO
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Self

from rtgen import __version__
from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.events import (
    Chosen,
    Ended,
    Event,
    Given,
    Learn,
    Left,
    Linked,
    Paced,
    Planned,
    Plugged,
    Pressed,
    Received,
    Step,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import Answer, Plan
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.rig.kept import checks
from rtgen.rig.kept.lock import hold
from rtgen.rig.kept.scribe import Scribe, Where
from rtgen.rig.realtime import answer_promptly
from rtgen.rig.worker import wire
from rtgen.text import plain
from rtgen.whole import contents, folder_to_disk, to_disk

SUFFIX = ".rtlog"
MAX_BYTES = 2**30
"""Larger logs are refused; two hours take about ten megabytes."""
_MAGIC = b"rtgen session 1\n"
_FLUSH_S = 0.4
_TO_DISK = 2
"""Every so many times what was written is also put on the disk, so that a power cut takes no more than a second."""
_MANY = 5_000
"""Steps that wait, from which on the `.mid` does without what only shapes notes, so that memory does not grow: the log
has all of it."""
_MOST_WAITING = 2**25
"""Bytes that wait for a disk that fails, before the log is given up: several hours of playing."""
_MOST_JSON = 2**22
_DAMAGE = (struct.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a damaged log may raise."""
_PLAIN: Mapping[str, type[Any]] = {
    each.__name__: each for each in (Turned, Paced, Used, Pressed, Learn, Warmed, Plugged, Linked, Ended)
}


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: a log holds everything that was played."""
    return os.open(path, flags, 0o600)


def boot() -> str:
    """Return what tells this start of the machine from others, where the system says so; else nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()[:64]
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts with: the arguments of `Session`."""

    preset: Preset
    options: Options

    def session(self) -> Session:
        """A fresh session."""
        return Session(self.preset, self.options)


class Journal:
    """Writes a log from a thread of its own, so that neither a slow nor a full disk holds up the music.

    While the disk fails, steps wait in memory, and the log is complete once it can be written again. The music of the
    session is written down at the same time, so that its `.mid` is there at once when it ends.

    Args:
        path: of the log; its folder is created.
        opening: what the session starts with.
        complain: called when the log cannot be written, and when it can be again.
        name: of the program's ports.
        left: what the one before left behind.
    """

    def __init__(
        self,
        path: Path,
        opening: Opening,
        complain: Callable[[str], None] = lambda _: None,
        name: str = "",
        left: Left | None = None,
    ) -> None:
        self.path = path
        self.place: Callable[[], tuple[float, int] | None] = lambda: None
        """Asked now and then where the song is: a time in seconds, and the tick, below 0 if it does not roll."""
        self._last_place: tuple[float, int] | None = None
        self._complain = complain
        self._steps: deque[tuple[Step, Where | None]] = deque()
        self._scribe = Scribe(opening.preset)
        self.silent = True
        """Whether there was no input and no output; then no log is left."""
        self.trouble = ""
        """Why the log is not complete on disk; empty if it is."""
        self._file: BinaryIO | None = None
        self._created = False
        self._written = self._on_disk = 0
        self._waiting = bytearray(_MAGIC + _record(b"H", None, _json(_of_opening(opening, name, left))))
        self._given_up = False
        self._closing = threading.Event()
        self._flush()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(5.0)
        if self.silent and self._created:
            # rtgen could not start; a service that restarts it would fill the folder.
            with suppress(OSError):
                self.path.unlink()

    def note(self, step: Step, at: Where | None = None) -> None:
        """Queue a step; called from the real-time loop, never blocks.

        Args:
            step: what happened.
            at: where the session is after it; without, it is not in the `.mid`.
        """
        if not self._closing.is_set():
            self._steps.append((step, at))

    def save_music(self) -> Path:
        """Write the music of the session next to its log, once it has ended.

        Raises:
            UserError: it cannot be written.
        """
        target = self.path.with_suffix(".mid")
        self._scribe.save(target)
        return target

    def _run(self) -> None:
        # It computes for a good part of its time where much is played.
        answer_promptly()
        rounds = 0
        try:
            # At its own pace: waking up at every step would delay the next one.
            while not self._closing.wait(_FLUSH_S):
                self._take()
                self._flush()
                rounds += 1
                if rounds % _TO_DISK == 0:
                    self._put_on_disk()
            self._take()
            self._flush()
            self._put_on_disk()
        finally:
            self._closing.set()
            self._close()

    def _take(self) -> None:
        while self._steps:
            step, at = self._steps.popleft()
            if not self._given_up:
                self._waiting += encoded(step)
            if at is not None:
                hurried = len(self._steps) > _MANY
                self._scribe.write(step.now, at, step.event, step.sent, takes_back=step.takes_back, hurried=hurried)
            self.silent = self.silent and not step.sent and not isinstance(step.event, Received)
        if (place := self.place()) != self._last_place and place is not None and not self._given_up:
            self._last_place = place
            self._waiting += b"P" + struct.pack("<dq", *place)

    def _flush(self) -> None:
        """Write what waits, as far as possible; what the disk refuses is tried again the next time."""
        try:
            while self._waiting:
                if self._file is None:
                    self._file = self._open()
                count = self._file.write(self._waiting)
                self._written += count
                del self._waiting[:count]
        except OSError as error:
            self._close()
            if self._given_up or (self.trouble and len(self._waiting) <= _MOST_WAITING):
                return
            reason = f"the session log {self.path} cannot be written ({error.strerror or error})"
            if len(self._waiting) > _MOST_WAITING:
                self._given_up = True
                self._waiting.clear()
                self.trouble = f"{reason}, and ends here; the music goes on without it"
            else:
                self.trouble = f"{reason}; the music goes on without it, and it is tried again: make room, or choose "
                self.trouble += "another --sessions"
            self._complain(self.trouble)
            return
        if self.trouble and not self._given_up:
            self.trouble = ""
            self._complain(f"the session log {self.path} is written again, and nothing of it is missing")

    def _put_on_disk(self) -> None:
        """Have what was written survive a power cut, if anything was."""
        if self._file is None or self._on_disk == self._written:
            return
        written = self._written
        to_disk(self._file.fileno())
        if not self._on_disk:
            folder_to_disk(self.path.parent)
        self._on_disk = written

    def _open(self) -> BinaryIO:
        """Open the log where it was left.

        Unbuffered, so that after a failure it is known what was written.
        """
        if not self._created:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        file: BinaryIO = open(self.path, "r+b" if self._created else "xb", buffering=0, opener=_private)  # noqa: SIM115
        self._created = True
        if file.seek(0, SEEK_END) < self._written:
            file.close()
            raise OSError(EIO, "what was written is gone")
        file.truncate(self._written)
        file.seek(self._written)
        hold(file)  # so that no other rtgen takes it for the log of a session that was killed
        return file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()


def encoded(step: Step) -> bytes:
    """Return the bytes of a step."""
    match step.event:
        case None:
            head = b"N" + struct.pack("<d", step.now)
        case Received(port, data):
            head = b"R" + struct.pack("<dBH", step.now, port, len(data)) + data
        case _:
            head = _record(b"E", step.now, _json(of_event(step.event)))
    return head + b"".join(_sent(data, step.now) for data in step.sent)


def _sent(data: bytes, now: float) -> bytes:
    size = struct.pack("<H", len(data))
    if isinstance(data, Planned) and data.at > now:
        return b"T" + struct.pack("<d", data.at) + size + data
    return b"S" + size + data


def _record(letter: bytes, now: float | None, body: bytes) -> bytes:
    return letter + (b"" if now is None else struct.pack("<d", now)) + struct.pack("<I", len(body)) + body


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# ---- reading --------------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[Opening, Iterator[Step]]:
    """Read a log: what the session started with, and its steps. A log that was cut off is read as far as it goes.

    Raises:
        UserError: it is not a log, or cannot be read.
    """
    try:
        data = contents(path, MAX_BYTES)
    except OSError as error:
        raise UserError(
            f"The session log {path} cannot be read ({error.strerror}); 'rtgen sessions' lists them"
        ) from error
    if data is None:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB; session logs are never that large")
    return parse(data, str(path))


def parse(data: bytes, name: str) -> tuple[Opening, Iterator[Step]]:
    """Parse the bytes of a log, as `read`; error messages call it `name`.

    Raises:
        UserError: it is not a log.
    """
    if not data.startswith(_MAGIC):
        raise UserError(f"{name} is not a session log of rtgen; 'rtgen sessions' lists them")
    reader = _Reader(data, len(_MAGIC))
    try:
        if reader.take("<c")[0] != b"H":
            raise ValueError
        opening = _to_opening(reader.json())
    except _DAMAGE as error:
        raise UserError(f"The session log {name} has no readable start, so it cannot be replayed; delete it") from error
    return opening, _steps(reader, opening.options)


def head(data: bytes) -> tuple[dict[str, Any] | None, int]:
    """Return the settings at the start of a log's bytes, None if they cannot be read, and where the steps begin."""
    reader = _Reader(data, len(_MAGIC))
    try:
        if data.startswith(_MAGIC) and reader.take("<c")[0] == b"H" and isinstance(found := reader.json(), dict):
            return found, reader.at
    except (struct.error, ValueError, RecursionError):
        pass
    return None, reader.at


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise struct.error
        self.at += count
        return self.data[self.at - count : self.at]

    def json(self) -> Any:
        (count,) = self.take("<I")
        if count > _MOST_JSON:
            raise ValueError
        return json.loads(self.bytes(count))


def _steps(reader: _Reader, options: Options) -> Iterator[Step]:
    """Yield the steps up to the first that is incomplete, or that no session can have had."""
    step: tuple[float, Event | Ended | None] | None = None
    latest: float | None = None
    sent: list[bytes] = []
    while True:
        try:
            (letter,) = reader.take("<c")
            if letter == b"S":
                sent.append(reader.bytes(*reader.take("<H")))
                continue
            if letter == b"T":
                at, count = reader.take("<dH")
                if latest is None or not abs(at - latest) <= checks.MOST_AHEAD_S:
                    break
                sent.append(Planned(reader.bytes(count), at))
                continue
            if letter == b"P":
                reader.take("<dq")
                continue
            following = _step(letter, reader)
            now, event = following
            if not checks.possible_time(now, latest) or not (event is None or checks.possible(event, options)):
                break
            latest = now if latest is None else max(now, latest)
        except _DAMAGE:
            break
        if step is not None:
            yield Step(*step, tuple(sent))
        step, sent = following, []
    if step is not None:
        yield Step(*step, tuple(sent))


def _step(letter: bytes, reader: _Reader) -> tuple[float, Event | Ended | None]:
    if letter == b"N":
        return reader.take("<d")[0], None
    if letter == b"R":
        now, port, count = reader.take("<dBH")
        return now, Received(port, reader.bytes(count))
    if letter == b"E":
        (now,) = reader.take("<d")
        return now, to_event(reader.json())
    raise ValueError


# ---- events as JSON -------------------------------------------------------------------------------------------------


def of_event(event: Event | Ended) -> list[Any]:
    """Return an event as JSON: its type, and its fields."""
    match event:
        case Answer():
            return ["Answer", wire.from_loop(event.loop), event.target, event.epoch, event.draft, event.part]
        case Plan():
            return ["Plan", wire.from_plan(event)]
        case Given():
            return ["Given", wire.from_loop(event.loop)]
        case Chosen():
            return ["Chosen", event.preset.as_dict() if event.preset is not None else None]
    return [type(event).__name__, asdict(event)]


def to_event(said: list[Any]) -> Event | Ended:
    """Return the event that `of_event` made JSON of."""
    match said:
        case ["Left", {"sounding": sounding, "channels": channels, "at": then, "tick": tick} as left]:
            moved = _pairs(left.get("moved", ()))  # which older logs lack
            return Left(_pairs(sounding), tuple(channels), then, tick, moved)
        case ["Answer", loop, target, epoch, *rest]:  # of which older logs have none
            return Answer(wire.to_loop(loop), target, epoch, *rest)
        case ["Plan", fields]:
            return wire.to_plan(fields)
        case ["Given", loop]:
            return Given(wire.to_loop(loop))
        case ["Chosen", settings]:
            return Chosen(_to_preset(settings) if settings is not None else None)
    kind, fields = said
    found: Event | Ended = _PLAIN[kind](**fields)
    return found


def _pairs(said: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in said)


def _to_preset(settings: Mapping[str, Any]) -> Preset:
    return Preset(name=plain(str(settings["name"]))).changed(**{k: v for k, v in settings.items() if k != "name"})


def _of_opening(opening: Opening, name: str, left: Left | None) -> dict[str, Any]:
    bindings = {str(port): [asdict(b) for b in found] for port, found in opening.options.bindings.items()}
    return {
        "rtgen": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "boot": boot(),
        "name": name,
        "left": None if left is None else of_event(left),
        "preset": opening.preset.as_dict(),
        "settings": opening.options.plain(),
        "bindings": bindings,
    }


def _to_opening(said: Mapping[str, Any]) -> Opening:
    bindings = {int(port): tuple(Binding(**b) for b in found) for port, found in said["bindings"].items()}
    settings = {"controls": "all", "gestures": False, **said["settings"]}  # so it was up to version 0.1
    options = checks.possible_options(Options(**settings, bindings=bindings))
    return Opening(_to_preset(said["preset"]), options)
