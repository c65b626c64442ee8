"""rtgen's JACK clients, in a process of its own in which no other Python runs than their callbacks.

In the real-time process the callback would wait for the interpreter lock, and the server for the callback: for up to
83 ms on a busy machine. Here what arrives is stamped with its frame, and what leaves is written to its frame.

    python -m rtgen.rig.midi.cycle NAME INPUTS OUTPUTS FROM TO LIBJACK

`INPUTS` and `OUTPUTS` are names of ports, each ended by a line feed; `FROM` is the file descriptor of a ring
(`rtgen.rig.midi.ring`) and `TO` of a pipe. It prints the names of the clients, or nothing if the server refuses them,
and ends when its standard input does.

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

from rtgen.rig.midi.ring import Ring
from rtgen.rig.midi.schedule import Schedule

RECORD = struct.Struct("<dBB6s")
"""What goes through the pipe: a time in seconds, the number of a port or `ASK`, the size, and the bytes."""
TAKE_BACK, ASK = 255, 254
"""`TAKE_BACK`: what is planned for later than that time is taken back (`Schedule.take_back`). `ASK` is answered by
`ASK` when nothing waits any more."""
_NO_START_SERVER = 1
_IS_INPUT, _IS_OUTPUT = 1, 2
_TYPE = b"8 bit raw midi"
_MOMENT_S = 0.25
"""The last moment is this long, or twice as long: some ten cycles of any length."""
_MOST = 65536
"""Bytes that are kept for a parent process that does not read."""
_LONGEST = 3
"""Bytes of a message; System Exclusive is left out, whole or in pieces."""
_EXCLUSIVE = frozenset({0xF0, 0xF7})


class _Event(ctypes.Structure):
    _fields_ = (("time", ctypes.c_uint32), ("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p))


_Process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


def library(name: str) -> ctypes.PyDLL:
    """Return libjack with the types of the functions used here.

    None of them waits, but for opening a client and joining the cycle; so the interpreter lock is kept meanwhile.
    """
    jack = ctypes.PyDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    for function, result, arguments in (
        ("jack_client_open", pointer, (ctypes.c_char_p, ctypes.c_int, pointer)),
        ("jack_get_client_name", ctypes.c_char_p, (pointer,)),
        ("jack_port_register", pointer, (pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong)),
        ("jack_set_process_callback", ctypes.c_int, (pointer, _Process, pointer)),
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
        jack: libjack.
        name: of the client.
        ports: names of its ports.
        flag: whether these are inputs or outputs.
        clock: that of the server, which all clients share; None makes one.

    Raises:
        OSError: there is no server, or it refuses.
    """

    def __init__(
        self, jack: ctypes.PyDLL, name: str, ports: Sequence[str], flag: int, clock: Clock | None = None
    ) -> None:
        self.jack = jack
        self._client = jack.jack_client_open(name.encode(), _NO_START_SERVER, None)
        if not self._client:
            raise OSError("no JACK server")
        self.name: str = jack.jack_get_client_name(self._client).decode(errors="replace")
        """The client's name, to which the server adds a number where another has it."""
        self.ports = [jack.jack_port_register(self._client, port.encode(), _TYPE, flag, 0) for port in ports]
        if not all(self.ports):
            raise OSError("the JACK server refuses a port")
        self.rate = float(jack.jack_get_sample_rate(self._client))
        self.clock = clock or Clock(self.rate)
        self._cycle = self._first
        self._callback = _Process(lambda frames, _: self._cycle(frames, _))

    def begin(self) -> None:
        """Takes part in the server's cycle from now on.

        Raises:
            OSError: the server refuses.
        """
        jack = self.jack
        if jack.jack_set_process_callback(self._client, self._callback, None) or self._let("jack_activate"):
            raise OSError("the JACK server refuses a client")

    def end(self) -> None:
        """Takes part in the cycle no more; otherwise the server would wait for a client that is gone."""
        self._let("jack_deactivate")

    def _let(self, function: str) -> int:
        """Call a function that waits for a cycle, in which the callback needs the interpreter lock."""
        failed: int = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)((function, self.jack))(self._client)
        return failed

    def _first(self, frames: int, _: object) -> int:
        # Otherwise Python would make a state for the server's thread in each cycle, and throw it away.
        ctypes.pythonapi.PyGILState_Ensure()
        self._cycle = self.process
        return self.process(frames, _)

    def began(self) -> float:
        """When the present cycle began, in seconds."""
        now = perf_counter()
        return self.clock.began(self.jack.jack_last_frame_time(self._client), now)

    def process(self, frames: int, _: object) -> int:
        """Handle a cycle of so many frames; return 0."""
        raise NotImplementedError


class Inputs(_Client):
    """Passes on what arrives.

    Args:
        jack: libjack.
        name: of the client.
        ports: names of its ports.
        sink: file descriptor that records go to; never waited for.
    """

    def __init__(self, jack: ctypes.PyDLL, name: str, ports: Sequence[str], sink: int) -> None:
        super().__init__(jack, name, ports, _IS_INPUT)
        self._sink = sink
        self._unsent = b""
        self._event = _Event()
        self._here = ctypes.byref(self._event)

    def process(self, frames: int, _: object) -> int:
        """Read what arrives in a cycle."""
        jack, rate, event = self.jack, self.rate, self._event
        found, begin = self._unsent, self.began()
        for number, port in enumerate(self.ports):
            buffer = jack.jack_port_get_buffer(port, frames)
            for i in range(jack.jack_midi_get_event_count(buffer)):
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
        jack: libjack.
        name: of the client.
        ports: names of its ports.
        source: where records come from.
        sink: file descriptor that answers go to.
        clock: as of `_Client`.
    """

    def __init__(
        self,
        jack: ctypes.PyDLL,
        name: str,
        ports: Sequence[str],
        source: Ring,
        sink: int,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(jack, name, ports, _IS_OUTPUT, clock)
        self._source, self._sink = source, sink
        self._schedules = [Schedule() for _ in ports]
        self._asked = False

    def process(self, frames: int, _: object) -> int:
        """Write what is due in a cycle."""
        jack, rate = self.jack, self.rate
        begin = self.began()
        self._take_in()
        for port, schedule in zip(self.ports, self._schedules, strict=True):
            buffer = jack.jack_port_get_buffer(port, frames)
            jack.jack_midi_clear_buffer(buffer)
            if not schedule:
                continue
            place = 0
            messages = schedule.take(begin - 0.5 / rate)
            for i, (at, data) in enumerate(messages):
                place = max(place, min(round((at - begin) * rate) + frames, frames - 1))
                if jack.jack_midi_event_write(buffer, place, data, len(data)):
                    schedule.give_back(messages[i:])
                    break
        if self._asked and not any(self._schedules):
            self._asked = bool(_sent(self._sink, RECORD.pack(0.0, ASK, 0, b"")))
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
        jack = library(libjack)
        silence = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        jack.jack_set_error_function(silence)
        jack.jack_set_info_function(silence)
        clients: list[_Client] = []
        if ports := inputs.split("\n")[:-1]:
            clients.append(Inputs(jack, f"{name}-in", ports, int(sink)))
        if ports := outputs.split("\n")[:-1]:
            clock = clients[0].clock if clients else None
            clients.append(Outputs(jack, f"{name}-out", ports, Ring(int(source)), int(sink), clock))
        gc.disable()
        for client in clients:
            client.begin()
    except (OSError, AttributeError):
        return 1
    print(*(client.name for client in clients), sep="\t", flush=True)
    while os.read(0, 4096):
        pass
    for client in clients:
        client.end()
    os._exit(0)  # closing a client cancels its thread, which may be in Python; the server cleans up


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
