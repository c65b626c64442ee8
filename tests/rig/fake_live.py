"""A stand-in for Ableton Live with AbletonOSC, as the script was measured: see docs/decisions/0010-live-by-osc.md.

It shares no code with rtgen: packets are read and written by python-osc. What the script does, and so this does:

- It looks at its socket once per poll (100 ms in Live), and then carries out everything that waits there, in order.
- A request that fails sends `/live/error` with a sentence, without saying which request it was; what else waits is left
  for the next poll.
- Replies go to one port, whoever asked; they have the address of the request and carry no number.
- A property that is asked for comes back with whatever else the request said after its place: `get/name 1 2 77` gives
  `1 2 "name" 77`. `get/notes`, names of tracks and routings do not.
- `get/notes` and `remove/notes` without a range leave out pitch 127.
- A clip that is created may be there from the next poll on only, if it is wanted so.

The wire between may lose, delay and reorder datagrams, in both directions.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any, Self

from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

FakeNote = tuple[int, float, float, float, bool]
"""Pitch, start and duration in beats, velocity, and whether it is deactivated."""


@dataclass
class FakeClip:
    """A MIDI clip."""

    length: float
    name: str = ""
    notes: list[FakeNote] = field(default_factory=list)
    looping: Any = True
    loop_start: float = 0.0
    loop_end: float = 0.0
    is_midi_clip: bool = True
    is_playing: bool = False
    is_triggered: bool = False
    fired: int = 0

    def __post_init__(self) -> None:
        self.loop_end = self.loop_end or self.length


@dataclass
class FakeTrack:
    """A track: its slots are None where there is no clip."""

    name: str
    input_routing_type: str = "All Ins"
    output_routing_type: str = "Main"
    current_monitoring_state: int = 0
    arm: bool = False
    slots: list[FakeClip | None] = field(default_factory=list)


@dataclass(frozen=True)
class Wire:
    """What happens to datagrams on their way: the shares that are lost and delayed, and by how much at most."""

    lost: float = 0.0
    delayed: float = 0.0
    delay_s: float = 0.0
    reordered: bool = False


class FakeLive:
    """Live with one Set, in a thread of its own.

    Args:
        poll_s: how often the script looks at its socket.
        scenes: number of scenes.
        wire: what happens to datagrams.
        seed: of the wire's chance.
        port: that it listens on; 0 for any.
        reply_port: that it sends to.
        slow: whether a clip that is created is there from the next poll on only.
    """

    def __init__(
        self,
        poll_s: float = 0.005,
        scenes: int = 8,
        wire: Wire = Wire(),
        seed: int = 0,
        port: int = 0,
        reply_port: int = 11001,
        slow: bool = False,
    ) -> None:
        self.slow = slow
        self.poll_s, self.wire, self.reply_port = poll_s, wire, reply_port
        self.tracks = [FakeTrack("keys"), FakeTrack("answers", "rtgen out")]
        for track in self.tracks:
            track.slots = [None] * scenes
        self.scenes = [""] * scenes
        self.song: dict[str, Any] = {
            "tempo": 97.5,
            "is_playing": False,
            "root_note": 0,
            "scale_name": "Major",
            "signature_numerator": 4,
            "signature_denominator": 4,
        }
        self.selected = (0, 0)
        self.errors: list[str] = []
        self.received: list[tuple[str, tuple[Any, ...]]] = []
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self.lock = threading.RLock()
        self._random = Random(seed)
        self.listens: set[str] = set()
        self._made: list[tuple[list[FakeClip | None], int, FakeClip]] = []
        self._waiting: list[tuple[float, bytes]] = []
        self._leaving: list[tuple[float, bytes]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        self._socket.bind(("127.0.0.1", port))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._say("/live/startup")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(5.0)
        self._socket.close()

    def set(self, name: str, value: Any) -> None:
        """The player changes a property of the song, and listeners are told."""
        with self.lock:
            self.song[name] = value
            if name in self.listens:
                self._say(f"/live/song/get/{name}", value)

    def select(self, track: int, scene: int) -> None:
        """The player clicks a slot."""
        with self.lock:
            self.selected = track, scene
            if "selected_scene" in self.listens:
                self._say("/live/view/get/selected_scene", scene)

    def add(self, track: int, scene: int, clip: FakeClip) -> None:
        """The player makes a clip."""
        with self.lock:
            self.tracks[track].slots[scene] = clip

    def open_set(self) -> None:
        """The player opens another Set: the script begins anew, and listens to nothing."""
        with self.lock:
            self.listens.clear()
            self._say("/live/startup")

    # ---- the script -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.wait(self.poll_s):
            with self.lock:
                self._tick()

    def _tick(self) -> None:
        self._make()
        now = perf_counter()
        while True:
            try:
                data = self._socket.recv(65_536)
            except OSError:
                break
            self._on_its_way(self._waiting, data)
        due = self._due(self._waiting, now)
        for number, data in enumerate(due):
            try:
                self._packet(data)
            except Exception as error:  # whatever goes wrong is reported, and ends the round
                self.errors.append(str(error))
                self._say("/live/error", f"Error handling OSC message: {error}")
                self._waiting[:0] = [(0.0, rest) for rest in due[number + 1 :]]
                break
        for data in self._due(self._leaving, now):
            self._socket.sendto(data, ("127.0.0.1", self.reply_port))

    def _make(self) -> None:
        for slots, place, clip in self._made:
            slots[place] = clip
        self._made.clear()

    def _on_its_way(self, way: list[tuple[float, bytes]], data: bytes) -> None:
        chance = self._random.random()
        if chance < self.wire.lost:
            return
        late = chance < self.wire.lost + self.wire.delayed
        way.append((perf_counter() + self.wire.delay_s * self._random.random() if late else 0.0, data))

    def _due(self, way: list[tuple[float, bytes]], now: float) -> list[bytes]:
        due = [data for at, data in way if at <= now]
        way[:] = [each for each in way if each[0] > now]
        if self.wire.reordered:
            self._random.shuffle(due)
        return due

    def _say(self, address: str, *values: Any) -> None:
        self.told.append((address, values))
        message = OscMessageBuilder(address)
        for value in values:
            message.add_arg(value)
        self._on_its_way(self._leaving, message.build().dgram)

    def _packet(self, data: bytes) -> None:
        if OscBundle.dgram_is_bundle(data):
            for part in OscBundle(data):
                self._packet(part.dgram)
            return
        message = OscMessage(data)
        self.received.append((message.address, tuple(message.params)))
        reply = self._do(message.address, list(message.params))
        if reply is not None:
            self._say(message.address, *reply)

    def _do(self, address: str, params: list[Any]) -> tuple[Any, ...] | None:
        match address.split("/")[2:]:
            case ["test"]:
                self._say("/live/test", "ok")
            case ["application", "get", "version"]:
                return 12, 3
            case ["song", "get", "num_tracks"]:
                return (len(self.tracks),)
            case ["song", "get", "num_scenes"]:
                return (len(self.scenes),)
            case ["song", "get", "track_names"]:
                return tuple(track.name for track in self.tracks)
            case ["song", "get", name]:
                return (self.song[name], *params)
            case ["song", "start_listen", name]:
                self.listens.add(name)
                self._say(f"/live/song/get/{name}", self.song[name])
            case ["view", "start_listen", "selected_scene"]:
                self.listens.add("selected_scene")
                self._say("/live/view/get/selected_scene", self.selected[1])
            case ["view", "get", "selected_clip"]:
                return self.selected
            case ["scene", "get", "name"]:
                return (params[0], self.scenes[int(params[0])], *params[1:])
            case ["track", "get", name] if name.endswith("routing_type"):
                return params[0], getattr(self.tracks[int(params[0])], name)
            case ["track", "get", name]:
                return (params[0], getattr(self.tracks[int(params[0])], name), *params[1:])
            case ["clip_slot", *rest]:
                return self._slot(rest, int(params[0]), int(params[1]), params[2:])
            case ["clip", *rest]:
                return self._clip(rest, int(params[0]), int(params[1]), params[2:])
            case _:
                self.errors.append(address)
                self._say("/live/error", f"Unknown OSC address: {address}")
        return None

    def _slot(self, words: list[str], track: int, scene: int, params: list[Any]) -> tuple[Any, ...] | None:
        slots = self.tracks[track].slots
        clip = slots[scene]
        match words:
            case ["get", "has_clip"]:
                return track, scene, clip is not None, *params
            case ["get", name]:
                return track, scene, clip is not None and getattr(clip, name), *params
            case ["create_clip"]:
                if clip is not None or any(made is slots and at == scene for made, at, _ in self._made):
                    raise RuntimeError("Clip slot already has a clip")
                self._made.append((slots, scene, FakeClip(float(params[0]))))
                if not self.slow:
                    self._make()
            case ["delete_clip"]:
                slots[scene] = None
            case ["fire"] if clip is not None:
                clip.is_triggered, clip.fired = True, clip.fired + 1
        return None

    def _clip(self, words: list[str], track: int, scene: int, params: list[Any]) -> tuple[Any, ...] | None:
        clip = self.tracks[track].slots[scene]
        match words:
            case ["get", "notes"]:
                within = _range(params)
                assert clip is not None, "'NoneType' object has no attribute 'get_notes_extended'"
                return track, scene, *(value for note in clip.notes if within(note) for value in note)
            case ["remove", "notes"]:
                within = _range(params)
                assert clip is not None, "'NoneType' object has no attribute 'remove_notes_extended'"
                clip.notes = [note for note in clip.notes if not within(note)]
            case ["add", "notes"]:
                assert clip is not None, "'NoneType' object has no attribute 'add_new_notes'"
                rows = [tuple(params[at : at + 5]) for at in range(0, len(params), 5)]
                clip.notes = clip.notes + [(p, start, length, v, bool(mute)) for p, start, length, v, mute in rows]
            case ["get", name]:
                return track, scene, getattr(clip, name), *params
            case ["set", name]:
                getattr(clip, name)
                setattr(clip, name, params[0])
        return None


def _range(params: list[Any]) -> Callable[[FakeNote], bool]:
    """Whether a note lies in the range that was given; without one, pitch 127 is left out, as in the script."""
    if len(params) not in (0, 4):
        raise ValueError("Invalid number of arguments for /clip/get/notes. Either 0 or 4 arguments must be passed.")
    low, span, begins, lasts = params or (0, 127, -8192, 16384)
    return lambda note: low <= note[0] < low + span and begins <= note[1] < begins + lasts
