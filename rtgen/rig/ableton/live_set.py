"""The thread that speaks with Live: it keeps the connection, tells what the Set says, and writes and reads clips.

Nothing here is on the way of a note: what is to sound goes by MIDI. Without Live, or without the script, one sentence
says what to do, and it looks again every few seconds.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any, Self

from rtgen.errors import UserError
from rtgen.instrument.events import Event, Given, Turned
from rtgen.instrument.parameters import SCALES
from rtgen.instrument.preset import Preset
from rtgen.music import key
from rtgen.music.note import Loop
from rtgen.rig.ableton import Wants, slots
from rtgen.rig.ableton.script import Script, UnansweredError
from rtgen.rig.ableton.slots import Clip, Place
from rtgen.rig.ableton.tracks import connected, routings, tracks
from rtgen.rig.realtime import answer_promptly
from rtgen.rig.told.packet import Said
from rtgen.text import plain

MISSING = (
    "Live does not answer: install AbletonOSC in the folder Remote Scripts of Live's User Library, restart Live, and "
    "choose AbletonOSC as a Control Surface in Settings, Link, Tempo & MIDI (docs/ableton.md); all else goes on, and "
    "rtgen looks again by itself"
)
"""What the player is told once if Live does not answer."""
WAITING = 64
"""Most clips that wait to be written."""
_ALIVE_S = 2.0
"""How often Live is asked whether it is there, and how often it is looked for."""
_AGAIN_S = 30.0
"""How often all facts are asked for again, as a change of them may have been lost."""
_ANSWER_S = 0.7
"""How long it has to answer that, in seconds."""
_FOLLOW_S = 0.2
"""How often the instrument follows what Live says at most, in seconds, however often it says something else."""
_MISSED = 2
"""After so many questions without an answer Live is gone."""
_LONGEST = 60
"""Most characters of a name from Live, or for it."""
FACTS = "tempo", "is_playing", "root_note", "scale_name", "signature_numerator", "signature_denominator"
_UNCHOSEN = 0, "Major"
"""The scale of a Set in which none was chosen: Live does not tell whether its scale is switched on."""
_OTHERWISE = {"minor": "natural_minor", "hirojoshi": "hirajoshi"}
"""What Live calls otherwise than the knob: rtgen's minor has all three forms, Live's only the natural one."""
_PRESET = re.compile(r"\[rtgen ([^\[\]]{1,60})\]")
_SONG = "/live/song/get/"
_SELECTED = "/live/view/get/selected_clip"
_SCENE = "/live/view/get/selected_scene"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the Set says; None where it has not said it.

    Args:
        tempo: BPM.
        is_playing: whether it plays.
        root_note: pitch class of the scale's tonic, 0 (C) to 11 (B).
        scale_name: of the scale, in Live's words.
        signature_numerator: of the time signature.
        signature_denominator: of the time signature.
    """

    tempo: float | None = None
    is_playing: bool | None = None
    root_note: int | None = None
    scale_name: str | None = None
    signature_numerator: int | None = None
    signature_denominator: int | None = None

    def changed(self, name: str, value: Any) -> Facts:
        """Return the facts with another one; as they are if it is none that can be."""
        number = type(value) in (int, float) and isfinite(value)
        fine = {
            "tempo": number and 1 <= value <= 1000,
            "is_playing": type(value) is bool or value in (0, 1),
            "root_note": type(value) is int and 0 <= value < 12,
            "scale_name": type(value) is str and 0 < len(value) <= _LONGEST,
            "signature_numerator": type(value) is int and 0 < value < 100,
            "signature_denominator": type(value) is int and 0 < value < 100,
        }
        if not fine.get(name):
            return self
        kind = bool if name == "is_playing" else type(value)
        said = {each: getattr(self, each) for each in FACTS}
        return Facts(**{**said, name: plain(value) if kind is str else kind(value)})

    def __str__(self) -> str:
        parts = []
        if self.tempo is not None:
            parts.append(f"{self.tempo:.1f} BPM")
        if self.signature_numerator is not None and self.signature_denominator is not None:
            parts.append(f"{self.signature_numerator}/{self.signature_denominator}")
        if self.root_note is not None and self.scale_name is not None:
            parts.append(f"{key.NAMES[self.root_note]} {self.scale_name}")
        return ", ".join((*parts, "playing" if self.is_playing else "stopped"))


class LiveSet:
    """Speaks with Live, in a thread of its own.

    Args:
        wants: what is wanted of it.
        hear: hands an event to the instrument.
        say: tells the player a sentence.
        choose: loads another preset by its name; returns why it cannot, or None.
        chosen: returns the preset that plays, or the one that will when its model is loaded.
        vary: yields variations of a loop.
    """

    def __init__(
        self,
        wants: Wants,
        hear: Callable[[Event], None],
        say: Callable[[str], None],
        choose: Callable[[str], str | None],
        chosen: Callable[[], Preset],
        vary: Callable[[Loop], Iterator[Loop]],
    ) -> None:
        self._wants, self._hear, self._say = wants, hear, say
        self._choose, self._chosen, self._vary = choose, chosen, vary
        self.facts = Facts()
        """What the Set says; replaced as a whole, so that any thread may read it."""
        self.there = False
        """Whether Live answers; any thread may read it."""
        self._script: Script | None = None
        self._jobs: deque[Callable[[Script], str | None]] = deque()
        self._after: dict[str, int] = {}
        self._complained: set[str] = set()
        self._begins_again = False
        self._looks = False
        self._tracks: list[dict[str, Any]] = []
        # The scene that was selected last, and the one whose name is not known yet.
        self._scene: int | None = None
        self._coming_scene: int | None = None
        self._scale: tuple[int, str] | None = None
        self._followed_at = float("-inf")
        self._survived: set[type[Exception]] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if (script := self._script) is not None:
            script.closing = True
            script.wake()
        self._thread.join(1.0)

    # ---- from other threads -----------------------------------------------------------------------------------------

    def keep(self, loop: Loop, name: str, *, fires: bool = True) -> bool:
        """Have a clip written into the next free slot of the track that answers; from any thread.

        Args:
            loop: its notes.
            name: as Live shows it.
            fires: whether it is launched as well, if the player wants that of clips that are kept.

        Returns:
            Whether it will be tried: Live is there, and not too many wait already.
        """
        clip = Clip(loop, plain(name)[:_LONGEST])
        return self._add(lambda script: self._write(script, clip, fires))

    def told(self) -> dict[str, Any]:
        """Return what Live says, for `rtgen doctor`: `there`, `says`, and `tracks` as `connected` returns them.

        The tracks are looked at again, which will be told the next time. From any thread.
        """
        if not self._looks:
            self._looks = self._add(self._look)
        return {"there": self.there, "says": str(self.facts), "tracks": list(self._tracks)}

    def _look(self, script: Script) -> None:
        self._looks = False
        self._tracks = connected(script, self._wants.inputs, self._wants.port)

    def answer_clip(self) -> bool:
        """Have the selected clip answered next; from any thread. Returns as `keep`."""
        return self._add(self._answer)

    def vary_clip(self) -> bool:
        """Have variations of the selected clip written beneath it; from any thread. Returns as `keep`."""
        return self._add(self._write_variations)

    def _add(self, job: Callable[[Script], str | None]) -> bool:
        script = self._script
        if script is None or not self.there or len(self._jobs) >= WAITING:
            return False
        self._jobs.append(job)
        script.wake()
        return True

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        # Ordinary threads of other programs would stop it while it has the interpreter lock, and the music with it.
        answer_promptly()
        while not self._closing.is_set():
            try:
                script = Script(self._take, self._wants.script_port, self._wants.reply_port, self._wants.patience_s)
            except UserError as error:
                self._complain(str(error))
                self._closing.wait(_ALIVE_S)
                continue
            self._script = script
            try:
                self._talk(script)
            except Exception as error:  # whatever Live says, what is wanted next is heard
                if type(error) not in self._survived:
                    self._survived.add(type(error))
                    self._say(f"speaking with Live failed ({plain(repr(error))[:_LONGEST]}); it is begun anew")
                self._closing.wait(_ALIVE_S)
            finally:
                self._script = None
                script.close()

    def _talk(self, script: Script) -> None:
        """Speak with Live until the end."""
        asked_at = listened_at = float("-inf")
        missed = 0
        while not self._closing.is_set():
            now = perf_counter()
            if now - asked_at >= _ALIVE_S:
                asked_at = now
                missed = 0 if self._answers(script) else missed + 1
                if missed:
                    self._miss(missed)
                elif not self.there or self._begins_again:
                    self._begin(script)
                    listened_at = perf_counter()
                elif now - listened_at >= _AGAIN_S:
                    listened_at = now
                    self._listen(script)
            listens_until = asked_at + _ALIVE_S
            if self._is_news():
                listens_until = min(listens_until, self._followed_at + _FOLLOW_S)
                if perf_counter() >= listens_until:
                    self._followed_at = perf_counter()
                    self._follow(script)
            if self.there and self._jobs:
                self._do(script)
            else:
                script.listen(max(listens_until - perf_counter(), 0.0))

    def _answers(self, script: Script) -> bool:
        with suppress(UnansweredError):
            script.get((_SONG + "tempo", ()), within_s=_ANSWER_S)
            return True
        return False

    def _miss(self, missed: int) -> None:
        if self.there and missed >= _MISSED:
            self.there = False
            lost = "; what waits for it is dropped, and kept answers are in the clip folder" if self._jobs else ""
            self._jobs.clear()
            self._looks = False
            self._say(f"Live does not answer any more{lost}; everything else goes on, and rtgen looks again by itself")
        elif not self.there:
            self._complain(MISSING)

    def _begin(self, script: Script) -> None:
        """Begin to listen to a Set."""
        self._begins_again = False
        self._complained.clear()
        self._listen(script)
        if not self.there:
            self.there = True
            self._say(f"Live answers: {self.facts}")

    def _listen(self, script: Script) -> None:
        """Ask to be told of changes, once or again, which also tells everything as it is."""
        missing = {_SCENE, *(_SONG + name for name in FACTS)}

        def done(said: Said) -> bool | None:
            missing.discard(said[0])
            return None if missing else True

        # One datagram each: where a Live has no such thing the others are told all the same.
        asking: list[list[Said]] = [[(address.replace("/get/", "/start_listen/"), ())] for address in sorted(missing)]
        with suppress(UnansweredError):
            script.until(asking, done)

    def _is_news(self) -> bool:
        """Return whether Live has said something that the instrument has not followed yet."""
        root, scale = self.facts.root_note, self.facts.scale_name
        other = root is not None and scale is not None and (root, scale) != self._scale
        return other or (self.there and self._coming_scene is not None)

    def _follow(self, script: Script) -> None:
        """Have the instrument follow what Live says."""
        self._steer()
        if self.there and self._coming_scene is not None:
            self._enter(script)

    def _enter(self, script: Script) -> None:
        """Load the preset that the name of a scene chooses, when the scene is selected or launched."""
        scene, self._coming_scene = self._coming_scene, None
        with suppress(UnansweredError):
            (found,) = script.get(("/live/scene/get/name", (scene,)))
            if named := preset_named(*found[:1]):
                self._load(named)

    def _complain(self, why: str) -> None:
        """Tell the player something once, until Live answers."""
        if why not in self._complained:
            self._complained.add(why)
            self._say(why)

    def _take(self, said: Said) -> None:
        """Take a message from Live: a fact, or an answer."""
        address, values = said
        if address == "/live/startup":
            # Another Set, which nobody listens to yet.
            self._begins_again, self.facts, self._scale, self._scene = True, Facts(), None, None
            self._after.clear()
        elif address.startswith(_SONG) and values:
            self.facts = self.facts.changed(address.removeprefix(_SONG), values[0])
        elif address == _SCENE and len(values) == 1 and type(values[0]) is int and values[0] != self._scene:
            # The one that is selected at the beginning chooses nothing: the player has just chosen.
            self._coming_scene = None if self._scene is None else values[0]
            self._scene = values[0]

    def _steer(self) -> None:
        """Have the knobs `key` and `scale` follow Live's scale when it changes."""
        root, scale, before = self.facts.root_note, self.facts.scale_name, self._scale
        if root is None or scale is None or (root, scale) == before:
            return
        self._scale = root, scale
        if before is None and self._scale == _UNCHOSEN:
            return
        self._hear(Turned("key", float(root + 1)))
        name = scale_called(scale)
        if name is None:
            self._say(f"Live is in {key.NAMES[root]} {scale}, a scale that rtgen does not know: only the key follows")
            return
        self._hear(Turned("scale", float(SCALES.index(name))))
        self._say(f"Live is in {key.NAMES[root]} {scale}: key and scale follow")

    def _do(self, script: Script) -> None:
        """Do the next thing that is wanted."""
        job = self._jobs.popleft()
        try:
            told = job(script)
        except UserError as error:
            told = f"Live: {error}"
        except UnansweredError:
            told = (
                None if self._closing.is_set() else "Live did not answer in time; what was kept is in the clip folder"
            )
        if told:
            self._say(told)

    # ---- clips ------------------------------------------------------------------------------------------------------

    def _write(self, script: Script, clip: Clip, fires: bool) -> str:
        names, scenes = tracks(script)
        track = self._track(script, names)
        name = names[track]
        slot = slots.write(script, clip, track, self._after.get(name, 0), scenes)
        self._after[name] = slot + 1
        fired = ", launched" if fires and self._wants.fires and self._fire(script, (track, slot)) else ""
        return f"in Live: track {name}, slot {slot + 1}: {clip.name}{fired}"

    def _answer(self, script: Script) -> str:
        place = _selected(script)
        (there,) = script.get(("/live/clip_slot/get/has_clip", place))
        if there == (True,) and (named := preset_named(*script.get(("/live/clip/get/name", place))[0][:1])):
            self._load(named)
        preset = self._chosen()
        loop, name = slots.read(script, place, preset.metre.bar, preset.length)
        self._hear(Given(loop))
        return f"the clip {_shown(name)} is answered next, {len(loop)} {'note' if len(loop) == 1 else 'notes'}"

    def _write_variations(self, script: Script) -> str:
        place = _selected(script)
        preset = self._chosen()
        loop, name = slots.read(script, place, preset.metre.bar)
        _, scenes = tracks(script)
        found: list[str] = []
        after = place[1] + 1
        for number, varied in enumerate(self._vary(loop), 1):
            if self._closing.is_set():
                raise UnansweredError
            words = f"{_shown(name)[: _LONGEST - 20]}, {preset.name[:16]} {number}"
            slot = slots.write(script, Clip(varied, words), place[0], after, scenes)
            found.append(str(slot + 1))
            after = slot + 1
        return f"variations of {_shown(name)} are in slots {', '.join(found)}"

    def _load(self, name: str) -> None:
        """Load a preset that a clip or a scene names, unless it plays already."""
        if name != self._chosen().name and (why := self._choose(name)) is not None:
            self._say(f"Live: {why}")

    def _fire(self, script: Script, place: Place) -> bool:
        """Launch a clip; Live begins it on the next bar, or as its launch quantisation says.

        Returns:
            Whether Live says so.
        """
        states: list[Said] = [(f"/live/clip_slot/get/{each}", place) for each in ("is_triggered", "is_playing")]
        for _ in range(4):
            script.send(("/live/clip_slot/fire", place))
            with suppress(UnansweredError):
                if (True,) in script.get(*states):
                    return True
        return False

    def _track(self, script: Script, names: list[str]) -> int:
        """Return the number of the track that answers.

        Args:
            script: that is asked.
            names: of all tracks.

        Raises:
            UserError: there is none.
        """
        wanted = self._wants.track
        if wanted is not None:
            found = [n for n, each in enumerate(names) if each.casefold() == wanted.casefold()]
            if not found:
                raise UserError(f"no track is called {wanted}; rename one, or name another with --live-track")
            return found[0]
        port = self._wants.port.casefold()
        inputs = routings(script, len(names), "input")
        found = [n for n, each in sorted(inputs.items()) if port in each.casefold()]
        found += [n for n, each in enumerate(names) if each.casefold() == "rtgen"]
        if not found:
            raise UserError(
                f"no track takes its MIDI from {self._wants.port}, and none is called rtgen; choose "
                f"{self._wants.port} as MIDI From of the track that answers, or name it with --live-track"
            )
        return found[0]


def _selected(script: Script) -> Place:
    """Return the slot that is selected."""

    def done(said: Said) -> Place | None:
        right = len(said[1]) == 2 and all(type(each) is int and each >= 0 for each in said[1])
        return (said[1][0], said[1][1]) if right and said[0] == _SELECTED else None

    return script.until([[(_SELECTED, ())]], done)


def _shown(name: str) -> str:
    return plain(name)[:_LONGEST] or "without a name"


def preset_named(name: object = None) -> str | None:
    """Return the preset that the name of a clip or a scene chooses, as in `Verse [rtgen vary]`; None if it does not."""
    found = _PRESET.search(name) if isinstance(name, str) else None
    return found[1].strip() if found else None


def scale_called(name: str) -> str | None:
    """Return what the knob `scale` calls a scale of Live's; None if rtgen does not know it."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("#", "sharp ")).strip("_")
    words = _OTHERWISE.get(words, words)
    return words if words in SCALES and words != "auto" else None
