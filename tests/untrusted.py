"""Files of strangers: whatever their bytes are, they are music or one sentence (property tests, fuzzer)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from rtgen.errors import UserError
from rtgen.inference.file import card_of, read
from rtgen.instrument.events import Event, Turned
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music import files
from rtgen.rig import offline
from rtgen.rig.ableton import slots
from rtgen.rig.ableton.live_set import LiveSet, Wants
from rtgen.rig.ableton.script import MOST_VALUES, Script, UnansweredError
from rtgen.rig.kept import journal, presets, replay
from rtgen.rig.told.packet import Said, parse
from train.prepare.cut import Cutting
from train.prepare.prepare import rows
from train.prepare.sources import midi
from train.prepare.sources.find import Source


def midi_file(data: bytes) -> bool:
    """Reads a MIDI file with both readers, which must agree.

    Returns:
        Whether the quick reader read it, rather than leaving it to the tolerant one.
    """
    quick = midi.quick(data)
    try:
        slow = midi.tolerant(data, "it.mid")
    except UserError as error:
        _is_sentence(error, "it.mid")
        assert quick is None
        return False
    score = files.parse(data, "it.mid")
    assert len([e for e in score.merged() if e.data[0] & 0xF0 == 0x90]) >= sum(len(t.notes()) for t in score.tracks)
    played, _ = offline.sections(score, Preset())
    assert played
    assert all(a.end <= b.start for a, b in pairwise(played))
    if quick is None:
        return False
    assert [(name, drums, sorted(n.T.tolist())) for name, drums, n in quick.tracks] == [
        (name, drums, sorted(n.T.tolist())) for name, drums, n in slow.tracks
    ]
    assert (quick.tempos, quick.metres) == (slow.tempos, slow.metres)
    return True


def live_set(data: bytes) -> None:
    """Reads a Live set, and cuts it into loops."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it.als"
        path.write_bytes(data)
        table, report = rows([Source(str(path))], Cutting(keep_last=True, drums=True))
    assert table.num_rows <= 1_000_000
    for _, _, why in report.skipped:
        assert "\n" not in why


def session_log(data: bytes) -> None:
    """Replays a session log, and writes its music."""
    try:
        found = replay.of(*journal.parse(data, "it.rtlog"))
    except UserError as error:
        _is_sentence(error, "it.rtlog")
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it.mid"
        found.music.save(path)
        assert path.stat().st_size < 1000 + 100 * (len(data) + found.steps)


def preset(data: bytes) -> None:
    """Reads a preset."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it.yaml"
        path.write_bytes(data)
        try:
            presets.load(path)
        except UserError as error:
            _is_sentence(error, "it.yaml")


def model(data: bytes) -> None:
    """Reads the card of a model, and looks for weights in other files; runs nothing of it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "it.onnx"
        path.write_bytes(data)
        for attempt in card_of, read:
            try:
                attempt(path)
            except UserError as error:
                _is_sentence(error, "it.onnx")


_Found = TypeVar("_Found")


class _Stranger(Script):
    """Something that claims to be Live: to whatever is asked it says the same again."""

    def __init__(self, said: list[Said]) -> None:
        self._said, self.closing = said, False

    def until(
        self,
        datagrams: Sequence[Sequence[Said]],
        done: Callable[[Said], _Found | None],
        within_s: float = 0.0,
    ) -> _Found:
        for said in self._said:
            if (found := done(said)) is not None:
                return found
        raise UnansweredError

    def get(self, *questions: Said, first: Sequence[Said] = (), within_s: float = 0.0) -> list[tuple[object, ...]]:
        said = dict(self._said)
        if any(address not in said for address, _ in questions):
            raise UnansweredError
        return [said[address] for address, _ in questions]


def live(data: bytes) -> None:
    """Hears what claims to come from Live, the length of each datagram in a byte before it, and reads a clip of it."""
    said: list[Said] = []
    while data:
        size = 4 * data[0]
        with suppress(ValueError):
            said += parse(data[1 : 1 + size], MOST_VALUES)
        data = data[1 + size :]
    heard: list[Event] = []
    told: list[str] = []
    speaker = LiveSet(Wants(), heard.append, told.append, lambda _: None, Preset, lambda _: iter(()))
    for each in said:
        speaker._take(each)
        speaker._steer()
    for event in heard:
        assert isinstance(event, Turned)
        assert PARAMETERS[event.name].low <= event.value <= PARAMETERS[event.name].high
    with suppress(UnansweredError):
        try:
            loop, _ = slots.read(_Stranger(said), (0, 0), 1920, 3840)
        except UserError as error:
            told.append(str(error))
        else:
            assert loop.length == 3840
            assert loop.notes
    assert all(line.isprintable() for line in told)


def _is_sentence(error: UserError, name: str) -> None:
    assert name in str(error)
    assert "\n" not in str(error)
