"""The session log (journal): every event and every message sent, so that a session can be replayed.

The file is append-only and survives the death of the process; at most the last half second is lost. After `_MAGIC` come
records that each start with a letter:

    H u32 JSON              the settings of the session; once, at the start
    N f64                   time passed, up to then (seconds of a steady clock)
    R f64 u8 u16 bytes      bytes arrived at an input
    E f64 u32 JSON          another event
    S u16 bytes             a message was sent
"""

from __future__ import annotations

import json
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import platformdirs

from rtgen import __version__
from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.events import (
    Chosen,
    Ended,
    Event,
    Learn,
    Linked,
    Paced,
    Plugged,
    Pressed,
    Received,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import Answer
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.rig.worker import wire

SUFFIX = ".rtlog"
MAX_BYTES = 2**30
"""Larger logs are refused; two hours take about ten megabytes."""
_MAGIC = b"rtgen session 1\n"
_FLUSH_S = 0.4
_MOST_JSON = 2**22
_PLAIN: Mapping[str, type[Any]] = {
    each.__name__: each for each in (Turned, Paced, Used, Pressed, Learn, Warmed, Plugged, Linked, Ended)
}


def folder() -> Path:
    """Return the default folder for session logs."""
    return platformdirs.user_music_path() / "rtgen" / "sessions"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts with: the arguments of `Session`."""

    preset: Preset
    options: Options

    def session(self) -> Session:
        """A fresh session."""
        return Session(self.preset, self.options)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a session.

    Args:
        now: seconds of a steady clock.
        event: None if only time passed.
        sent: the messages sent.
    """

    now: float
    event: Event | Ended | None
    sent: tuple[bytes, ...]


class Journal:
    """Writes a log from a thread of its own, so that neither a slow nor a full disk holds up the music.

    Args:
        path: of the log; its folder is created.
        opening: what the session starts with.
        complain: called once if the log can no longer be written.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, opening: Opening, complain: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self._complain = complain
        self._broken = False
        self._steps: deque[Step] = deque()
        self.count = 0
        """Number of steps written."""
        self.silent = True
        """Whether there was no input and no output; then no log is left."""
        self._closing = threading.Event()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("xb")
            self._file.write(_MAGIC + _record(b"H", None, _json(_of_opening(opening))))
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"The session log {path} cannot be written ({error.strerror}); choose another --sessions, or off"
            ) from error
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(5.0)
        if self.silent:
            # rtgen could not start; a service that restarts it would fill the folder.
            with suppress(OSError):
                self.path.unlink()

    def note(self, now: float, event: Event | Ended | None, sent: list[bytes]) -> None:
        """Queue a step; called from the real-time loop, never blocks."""
        if not self._broken:
            self._steps.append(Step(now, event, tuple(sent)))

    def _run(self) -> None:
        try:
            with self._file as file:
                # At its own pace: waking up at every step would delay the next one.
                while not self._closing.wait(_FLUSH_S):
                    self._write(file)
                self._write(file)
        except OSError as error:
            self._broken = True
            self._steps.clear()
            self._complain(
                f"the session log {self.path} can no longer be written ({error.strerror}); the music goes on"
            )

    def _write(self, file: BinaryIO) -> None:
        while self._steps:
            step = self._steps.popleft()
            file.write(encoded(step))
            self.count += 1
            self.silent = self.silent and not step.sent and not isinstance(step.event, Received)
        file.flush()


def encoded(step: Step) -> bytes:
    """Return the bytes of a step."""
    match step.event:
        case None:
            head = b"N" + struct.pack("<d", step.now)
        case Received(port, data):
            head = b"R" + struct.pack("<dBH", step.now, port, len(data)) + data
        case _:
            head = _record(b"E", step.now, _json(of_event(step.event)))
    return head + b"".join(b"S" + struct.pack("<H", len(data)) + data for data in step.sent)


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
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB; session logs are never that large")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"The session log {path} cannot be read ({error.strerror}); 'rtgen sessions' lists them"
        ) from error
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
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The session log {name} has no readable start, so it cannot be replayed; delete it") from error
    return opening, _steps(reader)


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


def _steps(reader: _Reader) -> Iterator[Step]:
    """Yield the steps up to the first incomplete one."""
    step: tuple[float, Event | Ended | None] | None = None
    sent: list[bytes] = []
    while True:
        try:
            (letter,) = reader.take("<c")
            if letter == b"S":
                sent.append(reader.bytes(*reader.take("<H")))
                continue
            following = _step(letter, reader)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
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
            return ["Answer", wire.from_loop(event.loop), event.target, event.epoch, event.draft]
        case Chosen():
            return ["Chosen", event.preset.as_dict() if event.preset is not None else None]
    return [type(event).__name__, asdict(event)]


def to_event(said: list[Any]) -> Event | Ended:
    """Return the event that `of_event` made JSON of."""
    match said:
        case ["Answer", loop, target, epoch, *draft]:  # there were none before version 0.2
            return Answer(wire.to_loop(loop), target, epoch, *draft)
        case ["Chosen", settings]:
            return Chosen(_to_preset(settings) if settings is not None else None)
    kind, fields = said
    found: Event | Ended = _PLAIN[kind](**fields)
    return found


def _to_preset(settings: Mapping[str, Any]) -> Preset:
    return Preset(name=settings["name"]).changed(**{k: v for k, v in settings.items() if k != "name"})


def _of_opening(opening: Opening) -> dict[str, Any]:
    bindings = {str(port): [asdict(b) for b in found] for port, found in opening.options.bindings.items()}
    return {
        "rtgen": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "preset": opening.preset.as_dict(),
        "settings": opening.options.plain(),
        "bindings": bindings,
    }


def _to_opening(said: Mapping[str, Any]) -> Opening:
    bindings = {int(port): tuple(Binding(**b) for b in found) for port, found in said["bindings"].items()}
    settings = {"controls": "all", **said["settings"]}  # so it was up to version 0.1
    return Opening(_to_preset(said["preset"]), Options(**settings, bindings=bindings))
