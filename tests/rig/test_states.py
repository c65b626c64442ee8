"""The page in each of its states, on a desk and on a phone: what axe finds, and `RTGEN_PICTURES` has pictures taken."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rtgen.instrument.along import Coming
from rtgen.instrument.job import Piece
from rtgen.instrument.notices import ControlTaken, Layered
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.music.attributes import NAMES
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.music.parts import Struck
from rtgen.rig.kept import clips
from rtgen.rig.kept.presets import load
from rtgen.rig.told.telling import sentence
from rtgen.shipped import find
from tests.rig.test_osc import Desk, soon
from tests.rig.test_panel import PICTURES, Browser, Panels, in_a_browser, panel
from tests.rig.test_playing import MAPPED, TUNE, Player, Stage

__all__ = ["panel"]
SCREENS = {"desk": (1280, 800), "phone": (390, 844)}
GAP = 8
AXE = os.environ.get("RTGEN_AXE")
"""The script of another axe than the one that is pinned, such as the newest."""
GRAVE = ("serious", "critical")
VARY = load(find("presets", "vary"))
CALL = TUNE.notes
ANSWER = Loop(3840, (*CALL[:5], Note(1320, 69, 300, 96), Note(1800, 65, 200, 70), *CALL[8:]), 1920)
BEAT = Loop(3840, tuple(Note(240 * i, (36, 42, 38, 42)[i % 4], 100, 90 - 30 * (i % 2)) for i in range(16)), 1920)
CHORDS = (("C", 48, (60, 64, 67)), ("Am", 45, (57, 60, 64)), ("F", 41, (57, 60, 65)), ("G7", 43, (55, 59, 65)))
"""Of the band, a bar or half of one each: name, bass, comping."""
CERTAIN = 11
"""So many half beats of the band are committed; the chord that begins with the next bar may still change."""
LAYERS = (Loop(3840, tuple(Note(960 * i, 48 - 5 * (i % 2), 800, 90) for i in range(4)), 1920), ANSWER)


def half_beat(number: int) -> Piece:
    """What the band plays in a half beat of a loop of two bars."""
    name, bass, above = CHORDS[number // 4]
    notes: list[Struck] = [("drums", Note(0, 36 if number % 4 == 0 else 42, 60, 100))]
    if number % 4 == 2:
        notes.append(("drums", Note(0, 38, 60, 95)))
    if number % 2 == 0:
        notes.append(("bass", Note(0, bass, 400, 90)))
    if number % 4 == 0:
        notes += [("comping", Note(0, pitch, 900, 60)) for pitch in above]
    return Piece(name, tuple(notes))


def committed() -> Loop:
    """What the band has committed, each part on its channel."""
    notes, keys = [], []
    for number in range(CERTAIN):
        for part, note in half_beat(number).notes:
            there = replace(note, onset=240 * number)
            notes.append(there)
            channel = int(BAND.knobs[f"{part}_channel"]) - 1
            keys.append(Moved(there.onset, midi.note_on(channel, there.pitch, there.velocity)))
            keys.append(Moved(there.end, midi.note_off(channel, there.pitch)))
    return Loop(3840, tuple(notes), 1920, Hand(tuple(sorted(keys, key=lambda each: each.tick)), apart=True))


def bent() -> tuple[Moved, ...]:
    """A bend up into the third note and back, pressure on the eighth, and a pedal."""
    bends = [Moved(480 + 20 * i, bytes((0xE0, 0, min(64 + 6 * i, 127)))) for i in range(11)]
    presses = [Moved(1680 + 20 * i, bytes((0xD0, min(12 * i, 127)))) for i in range(12)]
    pedal = [Moved(2400, midi.control(0, 64, 127)), Moved(3300, midi.control(0, 64, 0))]
    return (*bends, Moved(800, bytes((0xE0, 0, 64))), *presses, Moved(2040, bytes((0xD0, 0))), *pedal)


BAND = load(find("presets", "band"))
ROLLING = {"tick": 2400, "use": "answer", "turn": "yours", "played": (), "answer": None, "muted": False}
ANSWERING = ROLLING | {"turn": "answer", "played": CALL, "answer": ANSWER}
PLAYED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "stopped": ("STOPPED", {"tick": None}),
    "your turn": ("YOUR TURN", ROLLING),
    "listening": ("LISTENING", ROLLING | {"played": CALL[:9]}),
    "answering": ("ANSWERING", ANSWERING),
    "muted": ("ANSWERING", ANSWERING | {"muted": True}),
    "follow": ("WITH YOU", ANSWERING | {"use": "follow", "preset": load(find("presets", "shadow"))}),
    "hold": ("FROZEN", ANSWERING | {"use": "hold"}),
    "drums": ("ANSWERING", ANSWERING | {"played": BEAT.notes, "answer": BEAT, "drums": True}),
    "blend": (
        "WITH YOU",
        ANSWERING | {"use": "follow", "preset": load(find("presets", "blend")), "stored": (TUNE, None)},
    ),
    "bends": ("ANSWERING", ANSWERING | {"moved": bent(), "answer": replace(ANSWER, hand=Hand(bent()))}),
    "overdub": ("OVERDUB", ROLLING | {"played": CALL[:9], "answer": LAYERS[1], "layers": 2, "overdubs": True}),
    "undo": ("OVERDUB", ROLLING | {"answer": LAYERS[0], "layers": 1, "overdubs": True}),
    "band waits": ("WITH YOU", ROLLING | {"use": "along", "preset": BAND, "played": CALL[:3], "tick": 600}),
    "band": (
        "WITH YOU",
        ROLLING
        | {
            "use": "along",
            "preset": BAND,
            "knobs": {**BAND.knobs, "drums_level": 1.4},
            "played": CALL[:10],
            "answer": committed(),
            "coming": Coming(240 * (CERTAIN - 2), 2, tuple(half_beat(n) for n in range(CERTAIN - 2, 16))),
        },
    ),
    "no tempo yet": ("NO TEMPO", {"tick": None, "clock": "player"}),
    "being played": ("FIRST LOOP", {"tick": None, "clock": "player", "turn": "yours", "played": CALL[:9]}),
    "closed": ("ANSWERING", ANSWERING | {"clock": "player"}),
}
"""States of the page that sounds: what the banner says, and how the daemon is."""
BESIDE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "no clock": ("NO CLOCK", {"tick": None}),
    "no start": ("NO START", {"tick": None, "unstarted": True}),
    "no tempo": ("NO TEMPO", {"tick": None, "clock": "player"}),
    "first loop": ("FIRST LOOP", {"tick": None, "clock": "player", "turn": "yours", "played": CALL[:9]}),
    "no link": ("NO CLOCK", {"tick": None, "clock": "link"}),
    "leads link": ("ANSWERING", ANSWERING | {"clock": "internal"}),
}
"""States of the page beside a DAW, or whatever else the clock comes from."""
BOUND = {"distance": "CC 20", "temperature": "CC 21", "density": "CC 102", "key_lock": "CC 22", "freeze": "key C2"}


def faults(page: Browser) -> list[str]:
    """What axe calls serious or critical, each with the first elements where it is found."""
    script = Path(AXE) if AXE else files("axe_core_python") / "axe.min.js"
    page.driver.execute_script(script.read_text("utf-8"))
    found = page.driver.execute_async_script("""
        const done = arguments[arguments.length - 1];
        axe.run(document, { resultTypes: ["violations"] }).then((all) => done(all.violations));
    """)
    return [
        f"{each['id']}: {each['help']}: "
        + "; ".join(f"{n['target'][-1]} {n['failureSummary']}" for n in each["nodes"][:3])
        for each in found
        if each["impact"] in GRAVE
    ]


class Looks:
    """Looks at pages on a desk and on a phone, state after state; at the end it has seen what is wrong in each.

    Args:
        folder: for pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, list[Path]] = {}
        self.wrong: dict[str, list[str]] = {}

    def at(self, page: Browser, name: str, shown: str = "banner") -> None:
        """Looks at the page as it is now, with an element of it in view."""
        for screen, size in SCREENS.items():
            page.shape(*size)
            page.driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", shown)
            if PICTURES:
                path = self._folder / f"{screen} {name}.png"
                page.driver.save_screenshot(str(path))
                self._seen.setdefault(screen, []).append(path)
            if found := faults(page):
                self.wrong[f"{name}, {screen}"] = found
        page.shape(*SCREENS["desk"])

    def sheet(self, screen: str, columns: int, width: int) -> None:
        """Puts the pictures of a screen side by side into one, if pictures are wanted."""
        if not PICTURES:
            return
        found = []
        for path in self._seen[screen]:
            with Image.open(path) as picture:
                found.append(picture.convert("RGB").resize((width, round(width * picture.height / picture.width))))
        height = found[0].height
        whole = Image.new(
            "RGB", (columns * (width + GAP) - GAP, -(-len(found) // columns) * (height + GAP) - GAP), "white"
        )
        for i, picture in enumerate(found):
            whole.paste(picture, ((i % columns) * (width + GAP), (i // columns) * (height + GAP)))
        whole.save(Path(PICTURES) / f"states-{screen}.webp", quality=75, method=6)


@in_a_browser
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_axe_finds_no_serious_fault_in_any_state(panel: Panels, tmp_path: Path) -> None:
    looks = Looks(tmp_path)
    on_the_page_that_sounds(looks, tmp_path)
    beside_a_daw(looks, panel, tmp_path)
    looks.sheet("desk", 3, 480)
    looks.sheet("phone", 7, 220)
    assert looks.wrong == {}


def on_the_page_that_sounds(looks: Looks, folder: Path) -> None:
    stage = Stage()
    stage.desk.remote._about["clips"] = str(folder / "clips")
    for minute, (loop, name) in enumerate(((TUNE, "vary"), (ANSWER, "lush"), (BEAT, "breaks"))):
        clips.keep(loop, Preset(name=name), 96.0, folder / "clips", datetime(2026, 11, 30, 15, minute, 7))
    usual = replace(stage.desk.view, preset=VARY, bound=BOUND, dimensions=(*NAMES, "warmth"), placed=MAPPED)
    usual = replace(usual, muted=False, use="answer", played=(), answer=None)
    stage.desk.view = replace(usual, tick=None)
    with stage.open():
        page = Player(stage.urls[0], folder / "browser")
        looks.at(page, "start")
        page.begin()
        for name, (word, view) in PLAYED.items():
            stage.desk.view = replace(usual, **view)
            soon(lambda word=word: page.text("turn") == word)
            time.sleep(0.7)
            if name == "undo":
                stage.desk.remote.tell("/rtgen/state/news", sentence(Layered(on=True, layers=1, undone="layer")))
                soon(lambda: "taken away" in page.text("toast"))
            looks.at(page, name)
        stage.desk.view = replace(usual, **PLAYED["overdub"][1], knobs={**usual.knobs, "spread": 1.0})
        page.tab("knobs")
        soon(lambda: page.text("knob-spread").endswith("on"))
        looks.at(page, "spread", "knob-spread")
        page.tab("play")
        stage.desk.view = replace(usual, **ANSWERING)
        for tab in ("knobs", "map", "clips", "machine"):
            page.tab(tab)
            time.sleep(0.3)
            looks.at(page, tab)
        page.tab("play")
        page.click("preset")
        looks.at(page, "presets")
        page.click("preset")
        page.click("learn")
        page.click("turn-distance")
        stage.desk.remote.heard(ControlTaken(0, "distance", "density"), "that control is already density")
        soon(lambda: page.driver.find_element("id", "learn-over").is_displayed())
        looks.at(page, "learn")
        page.close()


def beside_a_daw(looks: Looks, panel: Panels, folder: Path) -> None:
    desk = Desk()
    desk.remote._about["link"] = "leads"
    usual = replace(desk.view, played=(), answer=None, preset=VARY, bound=BOUND, muted=False, use="answer")
    desk.view = usual
    with desk.remote:
        page = Browser(panel(str(desk.remote.port))[0], folder / "other browser")
        page.shape(*SCREENS["desk"])
        for name, (word, view) in BESIDE.items():
            desk.view = replace(usual, **view)
            soon(lambda word=word: page.text("turn") == word)
            time.sleep(0.7)
            looks.at(page, name)
    soon(lambda: page.text("turn") == "OFFLINE")
    looks.at(page, "offline")
    page.close()
