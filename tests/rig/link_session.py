"""Two peers of an Ableton Link session, alone in a network of their own: the daemon, and a process that leads.

    unshare -r -n python -m tests.rig.link_session

prints what happened as JSON. A network of its own, as the tempo of whoever else makes music here is none of a test's
business.
"""

from __future__ import annotations

import bisect
import fcntl
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from rtgen.instrument.clocks.transport import State
from rtgen.instrument.events import Notice
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music.time import PPQN
from rtgen.rig.daemon import Daemon, News
from rtgen.rig.link import look
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.runner import _link
from tests.instrument.stage import word

BAR = 2.0
FIRST, SECOND = 100.0, 140.0
_TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"


def raise_loopback() -> None:
    """Switches on the loopback interface of a new network (Linux, netdevice(7): SIOCGIFFLAGS, SIOCSIFFLAGS)."""
    up, multicast = 0x1, 0x1000
    with socket.socket() as any_socket:
        asked = fcntl.ioctl(any_socket, 0x8913, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", asked)[1]
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", flags | up | multicast))


def lead() -> None:
    """The other process: does as it is told, and says every 5 ms where the beat is by its own clock."""
    from link import Link

    link = Link(FIRST)
    link.startStopSyncEnabled = True
    link.enabled = True
    orders: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: [orders.put(line.strip()) for line in sys.stdin] + [orders.put("end")]).start()
    while True:
        while not orders.empty():
            order = orders.get()
            if order == "end":
                return
            state, now = link.captureAppSessionState(), link.clock().micros()
            if order == "start":
                state.setIsPlayingAndRequestBeatAtTime(True, now, 0.0, BAR)
            elif order == "stop":
                state.setIsPlaying(False, now)
            else:
                state.setTempo(float(order), now)
            link.commitAppSessionState(state)
        seen = look(link, BAR)
        print(json.dumps([seen.at, seen.beat, seen.tempo, seen.peers]), flush=True)
        time.sleep(0.005)


class Leader:
    """That process, seen from here."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "lead"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seen: list[tuple[float, float, float, int]] = []
        self.heard: Callable[[float, float], None] = lambda _at, _beat: None
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, beat, tempo, peers = json.loads(line)
            self.seen.append((at, beat, tempo, peers))
            self.heard(at, beat)

    def tell(self, order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()

    def end(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(5)

    @property
    def beat(self) -> float:
        return self.beat_at(time.perf_counter())

    def beat_at(self, at: float) -> float:
        """Between, or after, the two times next to it that were told."""
        i = min(max(bisect.bisect(self.seen, (at,)), 1), len(self.seen) - 1)
        (t0, b0, _, _), (t1, b1, tempo, _) = self.seen[i - 1], self.seen[i]
        return b0 + (at - t0) * (b1 - b0) / (t1 - t0) if at < t1 else b1 + (at - t1) * tempo / 60

    def wait_for_beat(self, beat: float) -> None:
        while (left := beat - self.beat) > 0:
            time.sleep(max(left * 60 / self.seen[-1][2] - 0.02, 0.001))


def perform() -> dict[str, object]:
    """Plays a song of both; what happened."""
    leader, news, told = Leader(), SimpleQueue[News](), []
    sent: list[tuple[float, bytes]] = []
    ports = LoopbackPorts(lambda now, data: sent.append((now, data)))
    session = Session(Preset().changed(bars=1, metre="2/4", distance=0.0, tempo=200.0), Options(clock="link"))
    daemon = Daemon(session, ports, _TINY, "cpu", news.put)
    transport, errors = session.transport, []

    def wait_for(wanted: str) -> float:
        while True:
            item = news.get(timeout=20)
            if isinstance(item, Notice) and word(item) == wanted:
                told.append((wanted, getattr(item, "peers", 0)))
                return leader.beat

    def compare(at: float, beat: float) -> None:
        if transport.state is State.ROLLING:
            ours = (at - transport.time_at(0)) / (transport.time_at(PPQN) - transport.time_at(0))
            errors.append((at, ((ours - beat + BAR / 2) % BAR - BAR / 2) * 60 / transport.tempo * 1e3))

    def play(call: float) -> list[float]:
        """Plays a call of four notes in the bar that begins at a beat; when, by the leader's clock."""
        times = []
        for i in range(4):
            leader.wait_for_beat(call + i / 2)
            at = time.perf_counter()
            ports.play(bytes((0x90, 60 + i, 90)))
            times.append(leader.beat_at(at))
            leader.wait_for_beat(call + i / 2 + 0.25)
            ports.play(bytes((0x80, 60 + i, 0)))
        return times

    daemon.open()
    thread = threading.Thread(target=daemon.run, args=(60,), daemon=True)
    thread.start()
    with _link(session, daemon):
        wait_for("peerschanged")
        wait_for("rolling")
        leader.heard = compare
        leader.wait_for_beat(leader.beat + 0.3)
        leader.tell("start")
        wait_for("located")
        wait_for("rolling")
        begun = leader.beat_at(transport.time_at(0))
        played = play(0.0)
        leader.wait_for_beat(BAR + 0.7)
        changed = time.perf_counter()
        leader.tell(SECOND)
        played += play(2 * BAR)
        leader.wait_for_beat(3.9 * BAR)
        leader.tell("stop")
        stopped = wait_for("stopped")
        leader.tell("start")
        wait_for("rolling")
        again = leader.beat_at(transport.time_at(0))
        tempo = transport.tempo
        code = leader.end()
        wait_for("peerschanged")
        time.sleep(0.5)
        goes_on = transport.state is State.ROLLING
        leaves = time.perf_counter()
    left = time.perf_counter() - leaves
    daemon.stop()
    thread.join(10)
    return {
        "told": told,
        "begun": begun,
        "stopped": stopped,
        "again": again,
        "played": played,
        "sent": [(leader.beat_at(at), list(data)) for at, data in sent],
        "clock_ms": [error for at, error in errors if not changed <= at <= changed + 0.3],
        "after_change_ms": [(at - changed, error) for at, error in errors if changed <= at <= changed + 0.3],
        "tempo": tempo,
        "goes_on": goes_on,
        "leader_ended_with": code,
        "left_in_s": left,
        "hangs": thread.is_alive(),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["lead"]:
        lead()
    else:
        raise_loopback()
        print(json.dumps(perform()))
