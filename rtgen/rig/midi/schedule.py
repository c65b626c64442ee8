"""The order in which messages leave a port, each at its time; and what becomes of those that are taken back.

Used in a process in which nothing else runs than a JACK callback (`rtgen.rig.midi.cycle`), so it imports little.
"""

from __future__ import annotations

import heapq

_Key = tuple[int, int]
_Waiting = tuple[float, int, bytes]
_CLOCK = b"\xf8"


class Schedule:
    """Messages that wait to leave a port.

    The sender sees to it that each note that begins ends once; here this stays so though some messages overtake others,
    and planned notes are taken back: a note that sounds ends before it begins again, and no end leaves of a note that
    never began.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._count = 0
        self._returned: list[tuple[float, bytes]] = []
        self._sounding: set[_Key] = set()
        # Of each key, how many ends are still to come that are not needed any more.
        self._void: dict[_Key, int] = {}
        # The notes, by their number, that took the place of the end of the one before: no other will come.
        self._owed: set[int] = set()

    def __len__(self) -> int:
        """Number of messages that wait."""
        return len(self._waiting) + len(self._returned)

    @property
    def soonest(self) -> float | None:
        """When the first message that waits is due, in seconds; None if there is none."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, at: float, data: bytes) -> None:
        """Add a message that is due at `at` seconds. It may be earlier than those before it."""
        self._count += 1
        if self._waiting and (_begins(data) or _ends(data)) and self._overtakes(at, data):
            return
        heapq.heappush(self._waiting, (at, self._count, data))

    def _overtakes(self, at: float, data: bytes) -> bool:
        """Handle a note that overtakes others of its key; return whether that was all it is for."""
        key = _key(data)
        later = sorted((each for each in self._waiting if each[0] > at and _is_note(each[2], key)), key=_order)
        if not later:
            return False
        if _ends(data):
            # It ends the latest note, which has not begun.
            if _begins(later[-1][2]):
                self._remove(later[-1])
                if later[-1][1] in self._owed:
                    heapq.heappush(self._waiting, self._end_of(later[-1]))
                return True
        elif _ends(later[0][2]):
            # The end of the note before would end the one that begins now.
            self._remove(later[0])
            self._owed.add(self._count)
        return False

    def _end_of(self, begins: _Waiting) -> _Waiting:
        """Return the end whose place a note took that does not begin itself."""
        at, number, data = begins
        self._owed.discard(number)
        return at, number, _off(_key(data))

    def _remove(self, message: _Waiting) -> None:
        self._waiting.remove(message)
        heapq.heapify(self._waiting)

    def take_back(self, now: float) -> None:
        """Take back what was to come later than `now` (seconds) but the ends of notes: those that begin, what shapes
        them, and the clocks, which end with a Stop.
        """
        kept = []
        for each in self._waiting:
            if each[0] > now and (each[2] == _CLOCK or _shapes(each[2])):
                continue
            if each[0] > now and _begins(each[2]):
                key = _key(each[2])
                self._void[key] = self._void.get(key, 0) + 1
                if each[1] in self._owed:
                    kept.append(self._end_of(each))
            else:
                kept.append(each)
        self._waiting = kept
        heapq.heapify(kept)

    def take(self, until: float) -> list[tuple[float, bytes]]:
        """Remove and return the messages that are due before `until` seconds, with their times, in order."""
        taken, self._returned = self._returned, []
        while self._waiting and self._waiting[0][0] < until:
            at, number, data = heapq.heappop(self._waiting)
            if _begins(data):
                key = _key(data)
                owed = number in self._owed
                self._owed.discard(number)
                if key in self._sounding:
                    taken.append((at, _off(key)))
                # An end that was left out ends the note before; one that is still to come does not end this one.
                off = (key in self._sounding) - owed
                self._void[key] = max(self._void.get(key, 0) + off, 0)
                self._sounding.add(key)
            elif _ends(data):
                key = _key(data)
                if key in self._sounding:
                    self._sounding.discard(key)
                elif self._void.get(key):
                    self._void[key] -= 1
                    continue
            taken.append((at, data))
        return taken

    def give_back(self, messages: list[tuple[float, bytes]]) -> None:
        """Return messages that were taken and had no room; they are the first to be taken again."""
        self._returned = messages


def _off(key: _Key) -> bytes:
    return bytes((0x80 | key[0], key[1], 0))


def _shapes(data: bytes) -> bool:
    """Return whether it is a bend, a pressure or a controller."""
    return data[0] & 0xF0 in (0xA0, 0xB0, 0xD0, 0xE0)


def _order(message: _Waiting) -> int:
    return message[1]


def _key(data: bytes) -> _Key:
    """Channel and pitch of a note."""
    return data[0] & 0x0F, data[1]


def _is_note(data: bytes, key: _Key) -> bool:
    return (_begins(data) or _ends(data)) and _key(data) == key


def _begins(data: bytes) -> bool:
    return data[0] & 0xF0 == 0x90 and len(data) == 3 and data[2] > 0


def _ends(data: bytes) -> bool:
    kind = data[0] & 0xF0
    return len(data) == 3 and (kind == 0x80 or (kind == 0x90 and data[2] == 0))
