"""Has a harmoniser hear a whole melody, in a process of its own with limited memory.

The process is given one line of JSON and says one. It tells the model a half beat only after it has said its chord, as
in play.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtgen.errors import UserError
from rtgen.music.chord import Chord, Kind
from rtgen.music.note import Note
from rtgen.music.time import HALF, Metre
from rtgen.rig.apart import FLAGS, GROUP

MOST = 40_000
"""Most half beats of a melody."""
_LONGEST_S = 600.0
Chords = tuple[Chord | None, ...]


def harmonised(
    model: Path,
    notes: Sequence[Note],
    metre: Metre,
    halves: int,
    *,
    seed: int = 0,
    temperature: float = 0.0,
    ahead: int = 2,
    look: int = 8,
) -> list[Chords]:
    """Return the plan at each half beat: the chord of it, and of those after it as far as was planned then.

    Args:
        model: file of a model of the role `harmoniser`.
        notes: the melody.
        metre: of the song.
        halves: how many half beats are played.
        seed: of all chance.
        temperature: as in `rtgen.inference.harmoniser.Harmoniser`.
        ahead: likewise.
        look: half beats in a plan.

    Raises:
        UserError: it is too long, or the model cannot be run.
    """
    if halves > MOST:
        raise UserError(f"the melody has {halves // 2:,} beats, and {MOST // 2:,} are the most; cut it to a part")
    asked = {
        "model": str(model),
        "notes": [(n.onset, n.pitch, n.duration, n.velocity) for n in notes],
        "metre": str(metre),
        "halves": halves,
        "seed": seed,
        "temperature": temperature,
        "ahead": ahead,
        "look": look,
    }
    name = model.stem
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rtgen.rig.worker.harmony"],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            timeout=_LONGEST_S,
            process_group=GROUP,
            creationflags=FLAGS,
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise UserError(f"Model {name} did not answer in {_LONGEST_S:.0f} s; choose another model") from None
    except OSError as error:
        raise UserError(
            f"The process of model {name} could not be started ({error.strerror}); close other programs"
        ) from error
    except ValueError:
        raise UserError(f"The process of model {name} died; choose another model") from None
    if "failed" in told:
        raise UserError(str(told["failed"]))
    kinds = [Kind(kind["name"], tuple(kind["steps"]), kind["bass"]) for kind in told["kinds"]]
    found = [None if n < 0 else Chord(n // len(kinds), kinds[n % len(kinds)]) for n in range(-1, 12 * len(kinds))]
    return [tuple(found[n + 1] for n in plan) for plan in told["plans"]]


def main() -> int:
    """Answers the line on standard input; returns the exit status."""
    from dataclasses import asdict

    asked = json.loads(sys.stdin.readline())
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print

    def failed(reason: str) -> int:
        messages.write(json.dumps({"failed": reason}))
        messages.close()
        return 2

    from rtgen.rig.worker.main import MEMORY, cap_memory

    path = Path(asked["model"])
    cap_memory(MEMORY[False], path.stem, lambda _said: None)
    from rtgen.inference.harmoniser import Harmoniser, number_of
    from rtgen.inference.model import Model

    try:
        model = Model(path)
        card = model.card
        if card.role != "harmoniser":
            return failed(f"Model {card.name} (role {card.role}) says no chords; choose one of the role harmoniser")
        notes = [Note(*fields) for fields in asked["notes"]]
        one = Harmoniser(
            model,
            Metre.parse(asked["metre"]),
            seed=asked["seed"],
            temperature=asked["temperature"],
            ahead=asked["ahead"],
        )
        plans = []
        for within in by_half(notes, asked["halves"]):
            plan = one.plan(asked["look"])
            plans.append([-1 if chord is None else number_of(chord, card) for chord in plan])
            one.hear(within)
    except UserError as error:
        return failed(str(error))
    except Exception as error:
        return failed(f"Model {path.stem} failed ({type(error).__name__}: {str(error)[:300]}); choose another model")
    messages.write(json.dumps({"kinds": [asdict(kind) for kind in card.chords], "plans": plans}))
    messages.close()
    return 0


def by_half(notes: Sequence[Note], halves: int) -> list[list[Note]]:
    """Return the notes that sound in each half beat."""
    found: list[list[Note]] = [[] for _ in range(halves)]
    for note in notes:
        for half in range(max(note.onset // HALF, 0), min((note.end - 1) // HALF + 1, halves)):
            found[half].append(note)
    return found


if __name__ == "__main__":
    sys.exit(main())
