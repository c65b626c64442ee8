"""A conversation with AbletonOSC, a remote script that lets other programs speak with Live over UDP.

The script looks at its socket every 100 ms, and then carries out what waits there. Its replies go to one port of this
machine, so that one program at a time can speak with it. They do not say which request they answer, but a property
comes back with whatever else the request said: `/live/clip/get/name 0 3 77` is answered with `0 3 "name" 77`. So every
question has a number of its own, and an answer to an earlier one is never taken for the present one.

Datagrams may be lost. So whatever is sent may be sent again, and has to be such that it does no harm twice.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import randrange
from time import perf_counter, sleep
from typing import Any, TypeVar

from rtgen.errors import UserError
from rtgen.rig.ableton import PORT, REPLY_PORT
from rtgen.rig.told.packet import Said, bundle, parse

MOST_VALUES = 10_010
"""Most values of a message from the script that is read: each of a clip's notes has five."""
LONGEST = 48_000
"""Longest datagram from the script that is read, in bytes."""
_SENT = 2**17
"""Room for what is sent, in bytes: on macOS no more than 9 KB leave at once unless it is asked for."""
_PATIENCE_S = 0.35
"""After so long without an answer a question is asked again: the script looks every 100 ms."""
_LONGER, _MOST_PATIENT = 1.5, 4.0
"""By what factor it waits longer each time, and at most."""
GIVE_UP_S = 5.0
"""After so long without an answer a question is given up."""
_ROUND_S, _MOST, _MOST_BYTES = 0.05, 256, 2**17
"""Within the first, in seconds, so many datagrams and bytes are read at most; the rest are dropped unread."""
_HOST = "127.0.0.1"
_Found = TypeVar("_Found")


class UnansweredError(Exception):
    """The script has not answered, however often it was asked."""


class Script:
    """A socket that speaks with the script; used by one thread, except `wake`.

    Args:
        heard: is told every message that comes, facts and answers alike; must be quick.
        port: that the script listens on.
        reply_port: that it answers to.
        patience_s: how long to wait before a question is asked again, in seconds.

    Raises:
        UserError: another program has the port that the script answers to.
    """

    def __init__(
        self,
        heard: Callable[[Said], None],
        port: int = PORT,
        reply_port: int = REPLY_PORT,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._heard, self._to, self._patience_s = heard, (_HOST, port), patience_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT)
        try:
            self._socket.bind((_HOST, reply_port))
        except OSError as error:
            self._socket.close()
            raise UserError(
                f"port {reply_port}, on which Live answers, is taken: only one program at a time can speak with "
                "AbletonOSC; close the other one, and rtgen goes on by itself"
            ) from error
        self._number = randrange(2**20)
        self._round_ends, self._taken, self._bytes = 0.0, 0, 0
        self.closing = False
        """Whether questions are to be given up at once; may be set by any thread."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def wake(self) -> None:
        """Make `listen` return; from any thread."""
        with suppress(OSError):
            self._socket.sendto(b"", self._socket.getsockname())

    def send(self, *messages: Said) -> None:
        """Send messages that are carried out together, in order, up to the first that fails; they may be lost."""
        with suppress(OSError):
            self._socket.sendto(bundle(messages), self._to)

    def listen(self, seconds: float) -> list[Said]:
        """Return the messages of the next datagram that comes within so many seconds; none if woken, or none came."""
        data = self._receive(seconds)
        if not data:
            return []
        try:
            messages = parse(data, MOST_VALUES)
        except ValueError:
            return []
        for message in messages:
            self._heard(message)
        return messages

    def _receive(self, seconds: float) -> bytes:
        now = perf_counter()
        if now >= self._round_ends:
            self._round_ends, self._taken, self._bytes = now + _ROUND_S, 0, 0
        if self._taken >= _MOST or self._bytes >= _MOST_BYTES:
            sleep(self._round_ends - now)
            self._socket.settimeout(0)
            with suppress(OSError):
                for _ in range(4 * _MOST):
                    self._socket.recv(1)
            return b""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            data, sender = self._socket.recvfrom(LONGEST + 1)
        except OSError:  # nothing came; or, on Windows, nobody listens where something was sent, or it is too long
            return b""
        self._taken += 1
        self._bytes += len(data)
        return data if sender == self._to and len(data) <= LONGEST else b""

    def until(
        self, datagrams: Sequence[Sequence[Said]], done: Callable[[Said], _Found | None], within_s: float = GIVE_UP_S
    ) -> _Found:
        """Send datagrams, again and again, until a message comes that settles it; return what `done` made of it.

        Args:
            datagrams: each with the messages that are carried out together.
            done: returns None for a message that does not settle it.
            within_s: when to give up, in seconds.

        Raises:
            UnansweredError: no such message came.
        """
        given_up = perf_counter() + within_s
        patience = self._patience_s
        while perf_counter() < given_up:
            for messages in datagrams:
                self.send(*messages)
            ends = perf_counter() + patience
            patience = min(patience * _LONGER, self._patience_s * _MOST_PATIENT)
            while (left := ends - perf_counter()) > 0:
                if self.closing:
                    raise UnansweredError
                for message in self.listen(left):
                    if (found := done(message)) is not None:
                        return found
        raise UnansweredError

    def get(self, *questions: Said, first: Sequence[Said] = (), within_s: float = GIVE_UP_S) -> list[tuple[Any, ...]]:
        """Return properties, asked for in one datagram: for each the values of the answer, without the question's.

        Args:
            questions: addresses such as `/live/clip/get/name`, and where to look, such as track and slot.
            first: messages that are sent each time before the questions, in a datagram of their own.
            within_s: when to give up, in seconds.

        Raises:
            UnansweredError: not all of them were answered.
        """
        self._number += len(questions)
        base = self._number - len(questions)
        asked = {base + i: question for i, question in enumerate(questions)}
        found: dict[int, tuple[Any, ...]] = {}

        def done(said: Said) -> bool | None:
            number = said[1][-1] if said[1] else None
            if type(number) is not int or number not in asked:
                return None
            address, place = asked[number]
            if said[0] == address and said[1][: len(place)] == place:
                found[number] = said[1][len(place) : -1]
            return True if len(found) == len(asked) else None

        together = [(address, (*place, number)) for number, (address, place) in asked.items()]
        self.until([*([first] if first else ()), together], done, within_s)
        return [found[number] for number in asked]
