"""With a real DAW: Ardour, without its screen, plays calls to the daemon by its own clock and records the answers.

Its Lua can neither make a region nor import a file. So a note of Ardour's own keyboard is recorded into the track that
calls, and in the region that comes of it the calls are written in its place.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import PROBE_OUTPUT, Probe, RigError, Server, end, ending_with_us, missing, wait_until
from rtgen.bench.streams import sounded
from rtgen.music import files
from rtgen.music.note import Note
from tests.rig.conftest import Rig, StartDaemon

pytestmark = [pytest.mark.jack, pytest.mark.ardour, pytest.mark.timed]

TURN = 2 * BAR
CALLS = made_loop(1), made_loop(2)
SCORE = [replace(note, onset=2 * i * TURN + note.onset) for i, call in enumerate(CALLS) for note in call.notes]
LENGTH = 2 * TURN * len(CALLS)
MS_PER_TICK = 60_000 / (120 * 480)
PERIOD = 256
"""As with a DAW on a small machine; at the rig's 64, Ardour is late once or twice a second."""
ROOM_MS = 10.0
"""How far an answer may be off.

A note is stamped at the start of the cycle that brings it, and sent at the start of a cycle. So it may be off by a
period, 5.3 ms, either way; from -5.2 to 5.3 ms was measured. The rest is for a busy machine.
"""
STARTS = 6
"""Up to one start of Ardour in six fails: two of its threads speak to JACK's server at once, and it drops Ardour."""


def by_pitch(notes: Iterable[Note]) -> list[Note]:
    """Pitch by pitch, so that notes can be paired though one comes a little sooner than another."""
    return sorted(notes, key=lambda n: (n.pitch, n.onset))


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A server apart from the other tests': Ardour takes its transport's lead from the probe, and keeps it."""
    if shutil.which("ardour7-lua") is None:
        pytest.skip("ardour7-lua not found; on Debian 12: apt-get install --no-install-recommends ardour")
    if reason := missing():
        pytest.skip(f"no JACK rig: {reason}")
    with Server.start(PERIOD) as server, Probe(server) as probe:
        yield Rig(server, probe, request.node)


class Ardour:
    """Ardour, doing what `ardour.lua` says; where that says something, it waits to be told to go on."""

    def __init__(self, server: Server, folder: Path, *arguments: str) -> None:
        config = folder / "ardour7" / "config"
        config.parent.mkdir(parents=True)
        config.write_text('<Ardour><Config><Option name="send-midi-clock" value="1"/></Config></Ardour>', "utf-8")
        self._session, self._log = folder / "session", folder / "log"
        script = Path(__file__).with_name("ardour.lua")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["ardour7-lua", "--exit-when-halted", str(script), str(self._session), *arguments],
                env={**server.environment, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                preexec_fn=ending_with_us(signal.SIGTERM),
            )

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def wait_for(self, what: str) -> None:
        """Waits until it has said so.

        Raises:
            RigError: it ended, or did not say it in time.
        """

        def heard() -> bool:
            if self.process.poll() is not None:
                raise RigError(f"Ardour ended with {self.process.returncode}:\n{self.said}")
            return f"{what}\n" in self.said

        wait_until(heard, f"Ardour's {what!r}", 30)

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def recorded(self, track: str) -> list[Note]:
        """The notes in the only region of a track; each has one end, or this raises."""
        (file,) = self._session.glob(f"interchange/*/midifiles/*_{track}-*.mid")
        (content,) = files.read(file).tracks
        notes = sounded((event.tick, event.data) for event in content.events)
        return by_pitch(Note(int(n.on), n.pitch, int(n.off - n.on), n.velocity) for n in notes)

    def close(self) -> None:
        end(self.process)
        if self.process.stdin:
            self.process.stdin.close()


@pytest.fixture
def ardour(rig: Rig, start_daemon: StartDaemon, tmp_path: Path) -> Iterator[Ardour]:
    """Ardour, connected with the daemon and ready to play it the score."""
    daemon = start_daemon("--no-thru", connect=False)
    rig.probe.connect((daemon.output, PROBE_OUTPUT))
    score = tmp_path / "score"
    score.write_text("".join(f"{n.onset} {n.duration} {n.pitch} {n.velocity}\n" for n in SCORE), "utf-8")
    for start in range(STARTS):
        folder = tmp_path / f"ardour-{start}"
        program = Ardour(rig.server, folder, str(score), str(LENGTH), daemon.input, daemon.output)
        try:
            program.wait_for("ready")
            yield program
            return
        except RigError:
            if "JACK HALTED" not in program.said:
                raise
        finally:
            program.close()
    pytest.fail(f"Ardour lost JACK's server {STARTS} times at its start:\n{program.said}")


def test_what_ardour_plays_it_records_again_two_bars_later(ardour: Ardour, rig: Rig) -> None:
    rig.probe.take()
    ardour.go_on()
    ardour.wait_for("recorded")
    room_ms = rig.heard().room_ms
    ardour.go_on()
    assert ardour.process.wait(20) == 0, ardour.said

    played, answered = ardour.recorded("call"), ardour.recorded("answer")
    assert played == by_pitch(SCORE)
    assert [(n.pitch, n.velocity) for n in answered] == [(n.pitch, n.velocity) for n in played]
    pairs = list(zip(played, answered, strict=True))
    late = [came.onset - was.onset - TURN for was, came in pairs] + [came.end - was.end - TURN for was, came in pairs]
    assert max(map(abs, late)) * MS_PER_TICK <= room_ms, (room_ms, late)
