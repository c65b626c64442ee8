"""The probe: conductor, player and recorder in one JACK client, so that all timestamps share one frame clock.

It runs in a process of its own, started and controlled by `server.Probe`, because a Python callback must not share its
interpreter with a test. Requests and replies are pickles on standard input and output, so this file needs only
JACK-Client.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import jack

Timed = tuple[int, bytes]
"""A frame and its MIDI bytes."""
_TICKS_PER_BEAT = 480.0
_BEATS_PER_BAR = 4
_LAG_S = 0.0005
"""Smallest change of the lag that is recorded."""


class _Log(NamedTuple):
    """Captured data; see `server.Capture`."""

    output: list[Timed]
    clock: list[Timed]
    played: list[Timed]
    gaps: list[int]
    xruns: list[int]
    lags: list[tuple[int, float]]


class Tempo(NamedTuple):
    """A tempo and where it starts."""

    frame: int
    beat: float
    bpm: float


class ProbeClient:
    """The JACK client; its public methods are the requests that `Probe` sends."""

    def __init__(self, name: str) -> None:
        self._client = jack.Client(name, use_exact_name=True, no_start_server=True)
        self._play = self._client.midi_outports.register("play")
        self._output = self._client.midi_inports.register("output")
        self._clock = self._client.midi_inports.register("clock")
        self._rate = self._client.samplerate
        self._log = _Log([], [], [], [], [], [])
        self._tempos = [Tempo(0, 0.0, 120.0)]
        self._script: list[Timed] = []
        self._script_frames: list[int] = []
        self._next_event = 0
        self._immediate: list[bytes] = []
        self._expected_cycle = 0
        self._expected_position = 0
        self._client.set_process_callback(self._process)
        self._client.set_timebase_callback(self._timebase)
        self._client.set_xrun_callback(self._xrun)
        self._client.activate()

    # Requests

    def server(self) -> tuple[int, int]:
        """Frames per second, and frames per period."""
        return self._rate, self._client.blocksize

    def ports(self) -> list[str]:
        """Names of all MIDI ports of the server."""
        while True:
            try:
                return [port.name for port in self._client.get_ports(is_midi=True)]
            except jack.JackError:
                pass  # a port disappeared during listing

    def connect(self, source: str, destination: str) -> bool:
        """Connects two ports; returns whether that succeeded."""
        try:
            self._client.connect(source, destination)
        except jack.JackError:
            return False
        return True

    def conduct(self, tempos: Sequence[tuple[int, float, float]]) -> None:
        """Sets the tempo map: (transport frame, beat, BPM), in order, the first at frame 0."""
        self._tempos = [Tempo(*tempo) for tempo in tempos]

    def play(self, script: Sequence[Timed]) -> None:
        """Sets the script, in transport frames, in order; it is played as the transport rolls."""
        frames = [frame for frame, _ in script]
        self._script, self._script_frames = [], frames
        self._next_event = bisect_left(frames, self._expected_position)
        self._script = list(script)

    def send(self, data: bytes) -> None:
        """Plays one message in the next cycle, whether the transport rolls or not."""
        self._immediate.append(data)

    def start(self) -> None:
        """Starts the transport."""
        self._client.transport_start()

    def stop(self) -> None:
        """Stops the transport where it is."""
        self._client.transport_stop()

    def locate(self, frame: int) -> None:
        """Moves the transport."""
        self._client.transport_locate(frame)

    def position(self) -> tuple[bool, int]:
        """Whether the transport is rolling, and its frame."""
        state, position = self._client.transport_query_struct()
        return state == jack.ROLLING, position.frame

    def now(self) -> int:
        """The current absolute frame."""
        return int(self._client.frame_time)

    def take(self) -> tuple[list[Any], ...]:
        """Returns and clears what was captured. Not during a measurement: large captures delay the callback."""
        taken, self._log = self._log, _Log([], [], [], [], [], self._log.lags[-1:])
        return tuple(taken)

    def close(self) -> None:
        """Leaves the server."""
        self._client.deactivate()
        self._client.close()

    # Callbacks, in JACK's thread

    def _process(self, frames: int) -> None:
        start = self._client.last_frame_time
        log = self._log
        lag = time.monotonic() - start / self._rate
        if not log.lags or abs(lag - log.lags[-1][1]) >= _LAG_S:
            log.lags.append((start, lag))
        missed = start - self._expected_cycle if self._expected_cycle else 0
        if missed:
            log.gaps.append(start)
        self._expected_cycle = start + frames
        log.output.extend((start + at, bytes(data)) for at, data in self._output.incoming_midi_events())
        log.clock.extend((start + at, bytes(data)) for at, data in self._clock.incoming_midi_events())
        self._play.clear_buffer()
        while self._immediate:
            self._write(start, 0, self._immediate.pop(0))
        state, position = self._client.transport_query_struct()
        if state == jack.ROLLING:
            self._play_script(start, position.frame, frames, missed)

    def _play_script(self, start: int, position: int, frames: int, missed: int) -> None:
        # After a locate, continue from there; after missed cycles, catch up on missed events.
        if not 0 <= position - self._expected_position <= missed:
            self._next_event = bisect_left(self._script_frames, position)
        self._expected_position = position + frames
        script = self._script
        while self._next_event < len(script) and script[self._next_event][0] < position + frames:
            frame, data = script[self._next_event]
            self._write(start, max(frame - position, 0), data)
            self._next_event += 1

    def _write(self, start: int, offset: int, data: bytes) -> None:
        self._play.write_midi_event(offset, data)
        self._log.played.append((start + offset, data))

    def _xrun(self, _delay_us: float) -> None:
        # The delay is the duration of the late cycle, not its lateness, which is in `lags`.
        self._log.xruns.append(self._client.last_frame_time)

    def _timebase(self, _state: int, _frames: int, position: Any, _new: bool) -> None:
        # A change takes effect in the cycle after its frame. jack_midi_clock extrapolates from its last clock with the
        # tempo of the cycle; with the new tempo any earlier, a clock could fall into the past and be skipped.
        tempos = self._tempos
        tempo = tempos[max(bisect_left(tempos, position.frame, key=lambda t: t.frame) - 1, 0)]
        beats = tempo.beat + (position.frame - tempo.frame) * tempo.bpm / (60 * self._rate)
        whole = int(beats)
        position.valid = jack._lib.JackPositionBBT
        position.bar, position.beat = whole // _BEATS_PER_BAR + 1, whole % _BEATS_PER_BAR + 1
        position.tick = int((beats - whole) * _TICKS_PER_BEAT)
        position.bar_start_tick = whole // _BEATS_PER_BAR * _BEATS_PER_BAR * _TICKS_PER_BEAT
        position.beats_per_bar, position.beat_type = _BEATS_PER_BAR, 4.0
        position.ticks_per_beat, position.beats_per_minute = _TICKS_PER_BEAT, tempo.bpm


def _serve(name: str) -> None:
    """Answers requests (method, arguments) until standard input ends."""
    # Neither garbage collection nor a long time slice of this thread may delay the callback.
    gc.disable()
    sys.setswitchinterval(0.0002)
    # The callback waits for the GIL, so its holder must not be preempted by another program.
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(4))
    jack.set_info_function(lambda _: None)
    jack.set_error_function(lambda _: None)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    client = ProbeClient(name)
    while True:
        try:
            method, arguments = pickle.load(requests)
        except EOFError:
            break
        try:
            reply = True, getattr(client, method)(*arguments)
        except Exception as error:
            reply = False, f"{type(error).__name__}: {error}"
        pickle.dump(reply, replies)
        replies.flush()
    client.close()


if __name__ == "__main__":
    _serve(sys.argv[1])
