"""rtgen's JACK clients, in a process of its own in which no other Python runs than their callbacks.

In the real-time process the callback would wait for the interpreter lock, and the server for the callback: for up to
83 ms on a busy machine. Here what arrives is stamped with its frame, and what leaves is written to its frame.

    python -m rtgen.rig.midi.cycle NAME INPUTS OUTPUTS FROM TO LIBJACK

`INPUTS` and `OUTPUTS` are names of ports, each ended by a line feed; `FROM` is the file descriptor of a ring
(`rtgen.rig.midi.ring`) and `TO` of a pipe. It opens the outputs and prints the names of both clients, or nothing if the
server refuses them. After a line of its standard input it opens the inputs, so that nothing comes in that could not go
out, and prints another line. It ends when its standard input does.

Inputs and outputs are two clients: a program that is connected to both would make a loop with one, and the server lets
everything in a loop wait for a period.

A time is in seconds of `time.perf_counter`, one period earlier than the frame that it stands for, as in a cycle a
client is told what happens until the cycle's end, a period in the future. So whatever is sent by its time leaves at its
frame.
"""

from __future__ import annotations

import ctypes
import gc
import os
import struct
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import ClassVar, TypeVar

from rtgen.rig.midi.ring import Ring
from rtgen.rig.midi.schedule import Schedule

RECORD = struct.Struct("<dBB6s")
"""What goes through the pipe: a time in seconds, the number of a port or `ASK`, the size, and the bytes."""
TAKE_BACK, ASK = 255, 254
"""`TAKE_BACK`: what is planned for later than that time is taken back (`Schedule.take_back`). `ASK` is answered by
`ASK` when nothing waits any more."""
_NO_START_SERVER = 1
_TYPE = b"8 bit raw midi"
_MOMENT_S = 0.25
"""The last moment is this long, or twice as long: some ten cycles of any length."""
_LOOK = 256
"""While nothing leaves, the clock is looked at after so many frames: as often as where a period has as many."""
_MOST = 65536
"""Bytes that are kept for a parent process that does not read."""
_LONGEST = 3
"""Bytes of a message; System Exclusive is left out, whole or in pieces."""
_EXCLUSIVE = frozenset({0xF0, 0xF7})


class _Event(ctypes.Structure):
    _fields_ = (("time", ctypes.c_uint32), ("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p))


_Process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
_Begin = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


_Library = TypeVar("_Library", bound=ctypes.CDLL)


def library(jack: _Library) -> _Library:
    """Return libjack with the types of the functions used here."""
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    for function, result, arguments in (
        ("jack_client_open", pointer, (ctypes.c_char_p, ctypes.c_int, pointer)),
        ("jack_get_client_name", ctypes.c_char_p, (pointer,)),
        ("jack_port_register", pointer, (pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong)),
        ("jack_set_thread_init_callback", ctypes.c_int, (pointer, _Begin, pointer)),
        ("jack_set_process_callback", ctypes.c_int, (pointer, _Process, pointer)),
        ("jack_activate", ctypes.c_int, (pointer,)),
        ("jack_deactivate", ctypes.c_int, (pointer,)),
        ("jack_get_sample_rate", number, (pointer,)),
        ("jack_last_frame_time", number, (pointer,)),
        ("jack_port_get_buffer", pointer, (pointer, number)),
        ("jack_midi_get_event_count", number, (pointer,)),
        ("jack_midi_event_get", ctypes.c_int, (ctypes.POINTER(_Event), pointer, number)),
        ("jack_midi_clear_buffer", None, (pointer,)),
        ("jack_midi_event_write", ctypes.c_int, (pointer, number, ctypes.c_char_p, ctypes.c_size_t)),
    ):
        found = getattr(jack, function)
        found.restype, found.argtypes = result, arguments
    return jack


class Clock:
    """When the frames of the server are, by our clock.

    A callback comes soon or late after its cycle has begun, but never before. So the least time between a frame and our
    clock within the last moment is right. The server has an estimate of its own, which is off by tens of milliseconds
    for some seconds after it stood still.

    Args:
        rate: frames per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._frame = 0
        self._least = self._before = float("inf")
        self._until = 0.0

    def began(self, frame: int, now: float) -> float:
        """Return when a cycle began, in seconds.

        Args:
            frame: its first frame, of 32 bits.
            now: seconds, as early in the callback as possible.
        """
        # The server's count begins again after a day.
        self._frame += (frame - self._frame + 0x80000000) % 0x100000000 - 0x80000000
        at = self._frame / self._rate
        if now >= self._until:
            self._before, self._least, self._until = self._least, float("inf"), now + _MOMENT_S
        self._least = min(self._least, now - at)
        return at + min(self._least, self._before)


class _Client:
    """A client of the server, and the server's clock in ours.

    Args:
        where: the file of libjack.
        name: of the client.
        clock: that of the server, which all clients share; None makes one.

    Raises:
        OSError: there is no server, or it refuses.
        AttributeError: the file is not libjack.
    """

    _FLAG: ClassVar[int]

    def __init__(self, where: str, name: str, clock: Clock | None = None) -> None:
        # In the callback the interpreter lock is kept. Functions that wait for the server let go of it, as the callback
        # needs it meanwhile.
        self.jack, self._waits = library(ctypes.PyDLL(where)), library(ctypes.CDLL(where))
        silence = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        self._waits.jack_set_error_function(silence)
        self._waits.jack_set_info_function(silence)
        self._client = self._waits.jack_client_open(name.encode(), _NO_START_SERVER, None)
        if not self._client:
            raise OSError("no JACK server")
        self.name: str = self.jack.jack_get_client_name(self._client).decode(errors="replace")
        """The client's name, to which the server adds a number where another has it."""
        self.rate = float(self.jack.jack_get_sample_rate(self._client))
        self.clock = clock or Clock(self.rate)
        # Looked up once, as they are called in each cycle; so are the ports, as values that need no conversion.
        self._last_frame, self._buffer_of = self.jack.jack_last_frame_time, self.jack.jack_port_get_buffer
        self._own = ctypes.c_void_p(self._client)
        self.ports: list[ctypes.c_void_p] = []
        self._at_first, self._callback = _Begin(_stay), _Process(self.process)

    def begin(self, ports: Sequence[str]) -> None:
        """Opens ports, and takes part in the server's cycle from now on; without ports, does nothing.

        Raises:
            OSError: the server refuses.
        """
        jack, client = self._waits, self._client
        found = [jack.jack_port_register(client, port.encode(), _TYPE, self._FLAG, 0) for port in ports]
        self.ports = [ctypes.c_void_p(port) for port in found]
        if not all(found):
            raise OSError("the JACK server refuses a port")
        if ports and (
            jack.jack_set_thread_init_callback(client, self._at_first, None)
            or jack.jack_set_process_callback(client, self._callback, None)
            or jack.jack_activate(client)
        ):
            raise OSError("the JACK server refuses a client")

    def end(self) -> None:
        """Takes part in the cycle no more; otherwise the server would wait for a client that is gone."""
        if self.ports:
            self._waits.jack_deactivate(self._client)

    def began(self) -> float:
        """When the present cycle began, in seconds."""
        now = perf_counter()
        return self.clock.began(self._last_frame(self._own), now)

    def process(self, frames: int, _: object) -> int:
        """Handle a cycle of so many frames; return 0."""
        raise NotImplementedError


class Inputs(_Client):
    """Passes on what arrives.

    Args:
        where: as of `_Client`.
        name: of the client.
        clock: as of `_Client`.
        sink: file descriptor that records go to; never waited for.
    """

    _FLAG = 1

    def __init__(self, where: str, name: str, clock: Clock, sink: int) -> None:
        super().__init__(where, name, clock)
        self._sink = sink
        self._unsent = b""
        self._event = _Event()
        self._here = ctypes.byref(self._event)
        self._count = self.jack.jack_midi_get_event_count

    def process(self, frames: int, _: object) -> int:
        """Read what arrives in a cycle."""
        found, begin = self._unsent, None
        for number, port in enumerate(self.ports):
            buffer = self._buffer_of(port, frames)
            count = self._count(buffer)
            if not count:
                continue
            # The outputs keep the clock meanwhile.
            begin = self.began() if begin is None else begin
            jack, rate, event = self.jack, self.rate, self._event
            for i in range(count):
                if jack.jack_midi_event_get(self._here, buffer, i) == 0 and 0 < event.size <= _LONGEST:
                    data = ctypes.string_at(event.buffer, event.size)
                    if data[0] < 0x80 or data[0] in _EXCLUSIVE:
                        continue
                    found += RECORD.pack(begin + (event.time - frames) / rate, number, event.size, data)
        if found:
            self._unsent = _sent(self._sink, found)
        return 0


class Outputs(_Client):
    """Sends what it is given, when it is due.

    Args:
        where: as of `_Client`.
        name: of the client.
        source: where records come from.
        sink: file descriptor that answers go to.
    """

    _FLAG = 2

    def __init__(self, where: str, name: str, source: Ring, sink: int) -> None:
        super().__init__(where, name)
        self._source, self._sink = source, sink
        self._schedules: list[Schedule] = []
        self._clear = self.jack.jack_midi_clear_buffer
        self._asked = self._waiting = False
        self._since = 0

    def begin(self, ports: Sequence[str]) -> None:
        """As of `_Client`."""
        self._schedules = [Schedule() for _ in ports]
        super().begin(ports)

    def process(self, frames: int, _: object) -> int:
        """Write what is due in a cycle."""
        if self._source.has_news():
            self._take_in()
        elif not self._waiting:
            # As in nearly every cycle, so it does no more than it must.
            self._since += frames
            if self._since >= _LOOK:
                self._since = 0
                self.began()
            for port in self.ports:
                self._clear(self._buffer_of(port, frames))
            return 0
        begin = self.began()
        for port, schedule in zip(self.ports, self._schedules, strict=True):
            buffer = self._buffer_of(port, frames)
            self._clear(buffer)
            if not schedule:
                continue
            jack, rate, place = self.jack, self.rate, 0
            messages = schedule.take(begin - 0.5 / rate)
            for i, (at, data) in enumerate(messages):
                place = max(place, min(round((at - begin) * rate) + frames, frames - 1))
                if jack.jack_midi_event_write(buffer, place, data, len(data)):
                    schedule.give_back(messages[i:])
                    break
        self._waiting = any(self._schedules)
        if self._asked and not self._waiting:
            self._asked = bool(_sent(self._sink, RECORD.pack(0.0, ASK, 0, b"")))
            self._waiting = self._asked
        return 0

    def _take_in(self) -> None:
        for at, number, data in self._source.take():
            if number == TAKE_BACK:
                for schedule in self._schedules:
                    schedule.take_back(at)
            elif number == ASK:
                self._asked = True
            elif number < len(self._schedules):
                self._schedules[number].add(at, data)


def _stay(_: object) -> None:
    """Keep Python's state of the server's thread, which it would make in each cycle otherwise, and throw away."""
    ctypes.pythonapi.PyGILState_Ensure()


def _sent(sink: int, records: bytes) -> bytes:
    """Send records; return those for which there is no room."""
    try:
        return records[os.write(sink, records) :]
    except BlockingIOError:
        return records if len(records) < _MOST else b""
    except OSError:  # the parent process is gone
        return b""


def main(name: str, inputs: str, outputs: str, source: str, sink: str, libjack: str) -> int:
    """Run until the standard input ends; return the exit status."""
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    if sys.platform != "win32":  # which has no JACK ports of ours
        os.set_blocking(int(sink), False)
    try:
        outs = Outputs(libjack, f"{name}-out", Ring(int(source)), int(sink))
        ins = Inputs(libjack, f"{name}-in", outs.clock, int(sink))
        gc.disable()
        outs.begin(outputs.split("\n")[:-1])
        print(ins.name, outs.name, sep="\t", flush=True)
        if os.read(0, 1):
            ins.begin(inputs.split("\n")[:-1])
            print(flush=True)
    except (OSError, AttributeError):
        return 1
    while os.read(0, 4096):
        pass
    for client in ins, outs:
        client.end()
    os._exit(0)  # closing a client cancels its thread, which may be in Python; the server cleans up


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
