"""Records what a hand plays, message for message, beside the notes that the looper makes of it."""

from __future__ import annotations

from bisect import bisect_left

from rtgen.music import midi
from rtgen.music.hand import MOST_MESSAGES, NO_HAND, Hand, Moved, stands

MOST = MOST_MESSAGES // 3
"""So many gestures a loop holds at most: three seconds of a fast MPE controller, or a minute of one wheel."""
_MOST_KEYS = MOST_MESSAGES // 3
"""A loop with more keys than this, up and down, is answered by its notes alone."""
_SHOWN = 256
"""About so many messages are looked at for display."""
_BESIDE = 30
"""What moves so many ticks before an early downbeat belongs to it (a 64th note)."""
_DATA_ENTRY, _RPN_LOW, _RPN_HIGH, _MPE = 6, 100, 101, 6
_LOWER, _UPPER = 0, 15
"""The channels on which what concerns a whole MPE zone comes, its pedals say."""


class Recorder:
    """Keeps the messages of a loop that shape notes, with the keys, and where everything stood before.

    When half of the room is used, the rest is divided among what moves and the time that is left: values that come
    faster take the place of the one before. So a flood makes curves coarser, and the end of the loop has them as well.
    """

    def __init__(self) -> None:
        self._stands: dict[bytes, bytes] = {}
        self._before: dict[bytes, bytes] = {}
        self._messages: list[Moved] = []
        self._down: set[tuple[int, int]] = set()
        self._latest: dict[bytes, int] = {}
        self._struck: dict[int, int] = {}
        self._gestures = 0
        self._records = False
        self._end = 0
        self._parameter: dict[int, list[int]] = {}
        # The members of the zones that were set up, by the channel that each of them is led by.
        self._zones: dict[int, range] = {}

    def begin(self, end: int) -> None:
        """Start to record; `end` is the tick at which the loop ends."""
        self.cancel()
        self._records, self._end = True, end
        self._before = dict(self._stands)

    def cancel(self) -> None:
        """Stop, and forget what was played."""
        self._records, self._gestures = False, 0
        self._before = {}
        self._messages.clear()
        self._down.clear()
        self._latest.clear()
        self._struck.clear()

    def feed(self, tick: int, message: bytes) -> None:
        """Process a message at `tick`, as `Looper.feed` does."""
        channel = message[0] & 0x0F
        if midi.is_note(message):
            key = (channel, message[1])
            if midi.is_note_on(message):
                if self._records:
                    self._struck[channel] = len(self._messages)
                    self._down.add(key)
                    self._messages.append(Moved(tick, message))
            elif key in self._down:
                self._up(tick, key, midi.release(message))
        elif shape := midi.shape(message):
            self._move(tick, shape, message)
        elif message[0] & 0xF0 == 0xB0:
            self._mode(tick, channel, message)

    def _up(self, tick: int, key: tuple[int, int], release: int = 0) -> None:
        self._down.discard(key)
        self._messages.append(Moved(tick, midi.note_off(*key, release)))

    def _mode(self, tick: int, channel: int, message: bytes) -> None:
        """Process a channel mode message, or one that sets up an MPE zone."""
        if midi.resets(message):
            for shape in [s for s in self._stands if s[0] & 0x0F == channel and s[1:] != bytes((midi.TIMBRE,))]:
                self._move(tick, shape, midi.at_rest(shape))
        elif midi.cuts(message) or midi.releases(message):
            for key in sorted(key for key in self._down if key[0] == channel):
                self._up(tick, key)
            if midi.cuts(message):
                held = [bytes((0xB0 | channel, number)) for number in midi.HOLDS]
                for shape, data in [(s, self._stands[s]) for s in held if s in self._stands]:
                    self._move(tick, shape, midi.at_rest(shape))
                    self._move(tick, shape, data)
        elif channel in (_LOWER, _UPPER):
            self._set_up(channel, message[1], message[2])

    def _set_up(self, channel: int, number: int, value: int) -> None:
        """Process a control change that may be of an MPE Configuration Message (RP-053)."""
        chosen = self._parameter.setdefault(channel, [0x7F, 0x7F])
        if number in (_RPN_HIGH, _RPN_LOW):
            chosen[number == _RPN_LOW] = value
        elif number == _DATA_ENTRY and chosen == [0, _MPE]:
            members = min(value, 15)
            self._zones[channel] = range(1, 1 + members) if channel == _LOWER else range(15 - members, 15)

    def _move(self, tick: int, shape: bytes, data: bytes) -> None:
        if data == midi.at_rest(shape):
            self._stands.pop(shape, None)
        else:
            self._stands[shape] = data
        if not self._records:
            return
        if self._gestures >= MOST // 2 and self._thins(tick, shape, data):
            return
        self._gestures += 1
        self._latest[shape] = len(self._messages)
        self._messages.append(Moved(tick, data))

    def _thins(self, tick: int, shape: bytes, data: bytes) -> bool:
        """Return whether there is no room for a value; it takes the place of the one before, where it can."""
        room = MOST - self._gestures
        latest = self._latest.get(shape, -1)
        if latest > self._struck.get(shape[0] & 0x0F, -1):
            then, before = self._messages[latest]
            crowded = (tick - then) * room < len(self._latest) * max(self._end - tick, 1)
            # A pedal that comes up damps, even if it goes down again at once.
            lifts = shape[0] & 0xF0 == 0xB0 and shape[1] in midi.HOLDS and (not before[2] or not data[2])
            if room <= 0 or (crowded and not lifts):
                self._messages[latest] = Moved(then, data)
                return True
        return room <= 0

    def gestures(self, start: int) -> tuple[Moved, ...]:
        """Return what moved so far and is no key, in ticks from the start of the loop, in not too many steps."""
        few = self._messages[:: max(len(self._messages) // _SHOWN, 1)]
        return tuple(Moved(tick - start, data) for tick, data in few if not midi.is_note(data))

    def take(self, end: int, start: int, without: int | None) -> Hand:
        """Return what was played, in ticks from `start`.

        Args:
            end: the tick at which the loop ends; keys that are still down come up there.
            start: the tick at which it begins.
            without: a channel that is left out.
        """
        struck = {channel for channel in self._struck if channel != without}
        if not struck or len(self._messages) - self._gestures > _MOST_KEYS:
            return NO_HAND
        zones = [channel for channel, members in self._zones.items() if not struck.isdisjoint(members)]
        apart = len(struck) > 1 or bool(zones)
        heard = struck.union(zones or (_LOWER, _UPPER)) - {without} if apart else struck
        messages = sorted((each for each in self._messages if each.data[0] & 0x0F in heard), key=_tick)
        begun = min((tick for tick, data in messages if midi.is_note_on(data)), default=start)
        # What moves before the loop, and shapes no early downbeat, is where the hand stood when it began.
        early = bisect_left(messages, min(start, begun - _BESIDE), key=_tick)
        before = {shape: data for shape, data in self._before.items() if shape[0] & 0x0F in heard}
        before |= stands(data for _, data in messages[:early])
        messages = messages[early:]
        stood = _unset(before, messages, struck)
        if not (apart or stood or any(map(_says_more, messages))):
            return NO_HAND
        length = end - start
        found = [Moved(messages[0].tick - start, data) for data in stood]
        late = [Moved(length, midi.note_off(*key)) for key in sorted(self._down) if key[0] in heard]
        for tick, data in messages:
            if tick >= end and midi.is_note(data) and not midi.is_note_on(data):
                late.append(Moved(length, data))
            else:
                found.append(Moved(min(tick - start, length - 1), data))
        return Hand((*found, *late), apart)


def _unset(before: dict[bytes, bytes], messages: list[Moved], struck: set[int]) -> list[bytes]:
    """Return where things stood when the loop began, of those that did not move before they mattered."""
    silent = set(struck)
    waiting = {shape: data for shape, data in before.items() if data != midi.at_rest(shape)}
    for _, data in messages:
        if not waiting or not silent:
            break
        if midi.is_note_on(data):
            silent.discard(data[0] & 0x0F)
        elif (shape := midi.shape(data)) and (shape[0] & 0x0F in silent or silent == struck):
            waiting.pop(shape, None)
    return list(waiting.values())


def _says_more(message: Moved) -> bool:
    """Return whether a message says more than that a key goes down or up; 64 is what keys send that feel no release."""
    data = message.data
    return not midi.is_note(data) or midi.release(data) not in (0, 64)


def _tick(message: Moved) -> int:
    return message.tick
