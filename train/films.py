"""Short films with sound of what presets answer, for the README: `python -m train.films`.

The bundled performance is answered as in `rtgen demo --fast`. The call is heard on the left, the answer on the right,
in another voice; the picture shows whose turn it is. It needs fluidsynth, the soundfont FluidR3 GM (MIT licence) and
ffmpeg: in Debian the packages fluidsynth, fluid-soundfont-gm and ffmpeg.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from PIL import Image, ImageDraw

from rtgen.cli.common import model_of, preset_of
from rtgen.errors import UserError
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.drums import CHANNEL as DRUMS
from rtgen.music.note import Loop
from rtgen.music.time import TICKS_PER_CLOCK, seconds_per_tick
from rtgen.rig.canvas import AXIS, EDGE, GONE, HEAD, KEPT, MARGIN, NEW, SIGNS, STRIP, WIDTH, Canvas, Panel, head
from rtgen.rig.offline import opened, pairs_of, simulate, with_clock
from rtgen.rig.performance import TEMPO, performance
from rtgen.rig.picture import match

PRESETS = ("vary", "turnaround", "continue", "drummer")
FOLDER = Path(__file__).parents[1] / "docs" / "films"
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
_LOOPS = 4
"""Two calls, each with its answer."""
_SEED = 1
_SHRINK = 2
"""The film has this fraction of the width and height of the pictures."""
_FRAMES_PER_S = 20
_RINGS_S = 1.5
"""How long the last notes may ring."""
_PIANO, _VIBRAPHONE = 0, 11
_LEFT, _RIGHT, _REVERB = 20, 108, 30
_PAN, _REVERB_SEND = 10, 91
_ROW, _GAP = 10, 12
_PLAYHEAD = (243, 245, 250)
Pairs = Sequence[tuple[Loop, Loop]]
app = typer.Typer(add_completion=False)


@app.command()
def main(
    presets: Annotated[list[str] | None, typer.Argument(help="All by default.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = FOLDER,
    soundfont: Annotated[Path, typer.Option(metavar="FILE")] = SOUNDFONT,
) -> None:
    """Make the films of presets."""
    for program in ("fluidsynth", "ffmpeg"):
        if shutil.which(program) is None:
            raise UserError(f"{program} is not here; install it: in Debian the package has its name")
    if not soundfont.exists():
        raise UserError(
            f"there is no soundfont {soundfont}; install the package fluid-soundfont-gm, or say --soundfont"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in presets or PRESETS:
        film(name, out / f"{name}.mp4", soundfont)
        print(f"{out / name}.mp4: {(out / f'{name}.mp4').stat().st_size / 1024:.0f} KiB")


def film(name: str, path: Path, soundfont: Path) -> None:
    """Make the film of a preset."""
    preset = preset_of(name).changed(tempo=TEMPO)
    score, pairs, length_s = session(preset)
    with TemporaryDirectory() as folder:
        tune, sound = Path(folder) / "tune.mid", Path(folder) / "sound.wav"
        files.write(tune, score)
        _run("fluidsynth", "-ni", "-q", "-g", "0.7", "-r", "44100", "-F", sound, soundfont, tune)
        frames = pictures(preset, pairs, Path(folder))
        width, height = frames[0].size
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", _FRAMES_PER_S, "-i", "-")
        # As loud as other music on the web, and silent at the end.
        loud = f"loudnorm=I=-16:TP=-1.5,afade=t=out:st={length_s + _RINGS_S - 0.6}:d=0.6"
        coded = ("-c:v", "libx264", "-crf", 26, "-preset", "fast", "-tune", "animation", "-pix_fmt", "yuv420p")
        heard = ("-af", loud, "-ar", 44100, "-c:a", "aac", "-b:a", "96k", "-t", length_s + _RINGS_S)
        same = ("-map_metadata", -1, "-fflags", "+bitexact", "-flags", "+bitexact", "-movflags", "+faststart")
        made = b"".join(frame.tobytes() for frame in moving(frames, pairs[0][0].length, length_s))
        _run("ffmpeg", "-y", "-v", "error", *raw, "-i", sound, *coded, *heard, *same, "-threads", 1, path, made=made)


def session(preset: Preset) -> tuple[files.Score, Pairs, float]:
    """Have a preset answer the performance.

    Returns:
        What to sound; calls and answers; and how long it takes without the last notes' ringing, in seconds.
    """
    end = _LOOPS * preset.length
    played = [e for e in performance(_LOOPS, preset.length) if e.tick < end]
    last = (end + TICKS_PER_CLOCK) * seconds_per_tick(TEMPO)
    with opened(preset, model_of(preset), "cpu") as network:
        instrument = Session(preset, Options(seed=_SEED, hears=network.ready.hears))
        sent, notices = simulate(instrument, with_clock(played, end, TEMPO), network.answer, last)
    channel = 1 if network.ready.pitched else DRUMS
    answered = [files.Event(round(at / seconds_per_tick(TEMPO)), data) for at, data in sent if data[0] < 0xF0]
    tracks = (
        files.Track("played", (*_voice(0, _PIANO, _LEFT), *played)),
        files.Track("answered", (*_voice(channel, _VIBRAPHONE, _RIGHT), *(_on(channel, each) for each in answered))),
    )
    return files.Score(tracks, ((0, TEMPO),), ((0, preset.metre),)), pairs_of(notices), end * seconds_per_tick(TEMPO)


def _voice(channel: int, program: int, pan: int) -> Iterator[files.Event]:
    yield files.Event(0, bytes((0xC0 | channel, program)))
    yield files.Event(0, midi.control(channel, _PAN, pan))
    yield files.Event(0, midi.control(channel, _REVERB_SEND, _REVERB))


def _on(channel: int, event: files.Event) -> files.Event:
    """Move an event to a channel."""
    return files.Event(event.tick, bytes((event.data[0] & 0xF0 | channel, *event.data[1:])))


def pictures(preset: Preset, pairs: Pairs, folder: Path) -> list[Image.Image]:
    """Return a picture for each loop: the calls, and the calls with their answers."""
    pitches = [n.pitch for pair in pairs for loop in pair for n in loop.notes]
    low, high = min(pitches) - 2, max(pitches) + 2
    tall = STRIP + (high - low + 1) * _ROW
    compared = preset.mode in ("vary", "clean")
    found = []
    for call, answer in pairs[: _LOOPS // 2]:
        for answers in (False, True):
            canvas = Canvas(WIDTH, HEAD + 2 * tall + _GAP + MARGIN)
            word = f"{preset.name}: {'the answer' if answers else 'a call'}"
            head(canvas, word, f"{TEMPO:g} BPM", SIGNS if compared else ())
            width = WIDTH - 2 * MARGIN - AXIS
            upper, lower = (
                Panel(canvas, MARGIN + AXIS, HEAD + i * (tall + _GAP), width, _ROW, low, high, call.length, call.bar)
                for i in (0, 1)
            )
            for panel, caption in ((upper, "played, on the left"), (lower, "answered, on the right")):
                panel.grid(names=True)
                panel.caption(caption, "")
            upper.notes(call.notes, KEPT)
            if answers:
                # What is no version of its call is all new.
                same = match(call, answer) if compared else []
                if compared:
                    lower.notes((n for n in call.notes if n not in {a for a, _ in same}), None, GONE)
                lower.notes((n for n in answer.notes if n in {b for _, b in same}), KEPT)
                lower.notes((n for n in answer.notes if n not in {b for _, b in same}), NEW, EDGE)
            canvas.save(folder / "picture.png")
            with Image.open(folder / "picture.png") as picture:
                found.append(picture.convert("RGB").reduce(_SHRINK))
    return [_even(picture) for picture in found]


def _even(picture: Image.Image) -> Image.Image:
    """Cut a picture to an even width and height, as video must have."""
    return picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))


def moving(frames: Sequence[Image.Image], length: int, length_s: float) -> Iterator[Image.Image]:
    """Yield the frames of the film: the picture of each loop, with a playhead over it.

    Args:
        frames: a picture for each loop.
        length: of a loop, in ticks.
        length_s: of all of them, in seconds.
    """
    left, right = (MARGIN + AXIS) / _SHRINK, (WIDTH - MARGIN) / _SHRINK
    loop_s = length * seconds_per_tick(TEMPO)
    for number in range(round((length_s + _RINGS_S) * _FRAMES_PER_S)):
        at = number / _FRAMES_PER_S
        loop = min(int(at / loop_s), len(frames) - 1)
        frame = frames[loop].copy()
        x = left + min(at / loop_s - loop, 1) * (right - left)
        ImageDraw.Draw(frame).rectangle((x - 1, HEAD / _SHRINK, x, frame.height - MARGIN / _SHRINK), _PLAYHEAD)
        yield frame


def _run(*command: object, made: bytes | None = None) -> None:
    done = subprocess.run([str(word) for word in command], input=made, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")


if __name__ == "__main__":
    try:
        app()
    except UserError as error:
        sys.exit(str(error))
