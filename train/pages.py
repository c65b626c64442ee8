"""The generated parts of README.md and docs/*.md: `python -m train.pages` rewrites them, `--check` names stale pages.

What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` is made by `PARTS[NAME]` from the cards of the shipped
models, the presets, the commands and the code.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_group

from rtgen import cli
from rtgen.inference.card import ROLES, Card, Data
from rtgen.inference.model import Model
from rtgen.instrument import parameters, preset
from rtgen.rig.kept import presets as presets_on_disk
from train import __main__ as workshop
from train import seven
from train.measures import chords, cost
from train.measures.evaluate import WORDS
from train.measures.faults import FAULTS
from train.measures.goals import GOALS
from train.models import NAMES, kind

ROOT = Path(__file__).parents[1]
HEADLINES: Mapping[str, tuple[str, str, str]] = {
    "denoiser": ("f1_exact", "higher", "nearest sixteenth"),
    "autoencoder": ("reconstruction_f1", "higher", "nearest training loop"),
    "composer": ("bits_a_note", "lower", "Markov, order 3"),
    "drummer": ("feel_velocity", "lower", "usual for its place"),
    "harmoniser": ("share_notes", "higher", "Markov chain"),
    "sequence": ("bits", "lower", "Markov, order 3"),
    "generator": ("generate_in_key", "higher", "held-out music"),
}
"""By role: the measure that sums a model up, which way is better, and its strongest simple baseline."""
_WORDS = {**WORDS, **chords.WORDS}
_PART = re.compile(r"<!-- begin ([\w-]+) -->\n.*?<!-- end \1 -->", re.DOTALL)
_LICENCE = "https://spdx.org/licenses/{}.html"
app = typer.Typer(add_completion=False)


@app.command()
def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a page is stale.")] = False,
) -> None:
    """Rewrite the generated parts of the pages."""
    stale = False
    for page in pages():
        old = page.read_text("utf-8")
        new = filled(old)
        if new != old:
            stale = True
            print(f"{'stale' if check else 'written'}: {page.relative_to(ROOT)}")
            if not check:
                page.write_text(new, "utf-8")
    sys.exit(1 if check and stale else 0)


def pages() -> list[Path]:
    """The pages that may have generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """The text of a page with its generated parts made anew."""
    return _PART.sub(lambda m: f"<!-- begin {m[1]} -->\n{PARTS[m[1]]()}\n<!-- end {m[1]} -->", text)


def names(text: str) -> list[str]:
    """The names of the generated parts in the text of a page."""
    return _PART.findall(text)


@cache
def cards() -> tuple[Card, ...]:
    """The cards of the shipped models, by name."""
    return tuple(Model(path).card for path in sorted((ROOT / "models").glob("*.onnx")))


def _sizes() -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (ROOT / "models").glob("*.onnx")}


@cache
def presets() -> tuple[preset.Preset, ...]:
    """The shipped presets, by program number."""
    return tuple(sorted(map(presets_on_disk.load, (ROOT / "presets").glob("*.yaml")), key=lambda p: p.program))


# ---- parts -----------------------------------------------------------------------------------------------------------


def _counts() -> str:
    return (
        f"{len(cards())} trained models and {len(presets())} presets come with rtgen, {len(_family())} of each for "
        f"[the seven](docs/gallery.md); {len(NAMES)} architectures can be trained."
    )


def _family() -> set[str]:
    """The names of models that are listed apart from the others."""
    return {card.name for card in cards() if card.family}


def _presets(*, apart: bool) -> Iterator[Sequence[str]]:
    """The presets of models in a family, or of all others."""
    yield "program", "preset", "what you get", "mode", "use", "model"
    for p in presets():
        if (p.model in _family()) is not apart:
            continue
        yield str(p.program), f"`{p.name}`", p.description, p.mode, p.use, f"`{p.model}`"


def _models() -> Iterator[Sequence[str]]:
    yield "model", "role", "modes", "parameters", "trained for", "measure", "model", "baseline"
    for card in cards():
        measure, better, baseline = HEADLINES[card.role]
        own, low, high = (card.metrics[f"{measure}{end}"] for end in ("", "_low", "_high"))
        beside = card.metrics[f"{measure}_{baseline.replace(' ', '_')}"]
        yield (
            f"`{card.name}`",
            card.role,
            ", ".join(card.kind.modes),
            f"{card.training['parameters']:,}",
            f"{card.training['wall_s'] / 60:.0f} min ({card.training['machine'].split(',')[0]})",
            f"{_WORDS[measure]} ({better} is better)",
            f"{own:.2f} ({low:.2f}-{high:.2f})",
            f"{beside:.2f} ({baseline})",
        )


SHOWN: Mapping[str, Sequence[str]] = {
    "denoiser": ("f1_exact", "f1_near", "f1_near_and_end", "do_no_harm", "distance_rank", "infill_f1"),
    "autoencoder": ("reconstruction_f1", "distance_rank", "blend_between", "blend_in_key", "generate_copies"),
    "composer": (
        "bits_a_note",
        "next_pitch",
        "distance_rank",
        "continue_in_key",
        "continue_density",
        "continue_copies",
    ),
    "harmoniser": ("share", "share_notes", "root"),
    "drummer": ("feel_velocity", "feel_timing", "beat_f1", "beat_follows", "distance_rank"),
}
"""By role: the measures of the short table of its models."""


def _figures(name: str) -> Iterator[Sequence[str]]:
    card = next(card for card in cards() if card.name == name)
    _, _, baseline = HEADLINES[card.role]
    yield "measure", name, baseline, "goal"
    for measure in SHOWN[card.role]:
        if measure not in card.metrics:
            continue
        own, low, high = (card.metrics[f"{measure}{end}"] for end in ("", "_low", "_high"))
        beside = card.metrics.get(f"{measure}_{baseline.replace(' ', '_')}")
        goals = ", ".join(map(str, GOALS.get(measure, ())))
        yield _WORDS[measure], f"{own:.3f} ({low:.3f}-{high:.3f})", "" if beside is None else f"{beside:.3f}", goals


SHORT = ("real next loop", "continue", "vary", "turnaround", "generate")
"""Rows of the judge's table in the README."""


def _measured(file: str) -> Mapping[str, Mapping[str, Any]]:
    """Figures that are on no card."""
    found: Mapping[str, Mapping[str, Any]] = json.loads((ROOT / f"docs/models/{file}.json").read_text("utf-8"))
    return found


def _judge(faults: bool, file: str = "judge") -> Iterator[Sequence[str]]:
    found = _measured(file)
    yield "", "alone", "beside its call", *(FAULTS if faults else ())
    for name, row in found.items():
        if not faults and name not in SHORT:
            continue
        both = (f"{row[k]:.2f} ({row[f'{k}_low']:.2f}-{row[f'{k}_high']:.2f})" for k in ("alone", "beside"))
        shares = (f"{row['faults'][fault]:.2f}" for fault in FAULTS) if faults else ()
        yield f"`{name}`" if (ROOT / f"presets/{name}.yaml").exists() else name, *both, *shares


def _credits() -> Iterator[Sequence[str]]:
    yield "set", "credit", "licence", "models trained on it"
    users: dict[Data, list[str]] = {}
    for card in cards():
        for data in card.data:
            users.setdefault(data, []).append(f"`{card.name}`")
    for data, names in sorted(users.items(), key=lambda item: item[0].name):
        yield data.name, data.credit, f"[{data.licence}]({_LICENCE.format(data.licence)})", ", ".join(names)


def _architectures() -> Iterator[Sequence[str]]:
    yield "architecture", "what it is", "role", "modes", "comes with rtgen"
    shipped = {card.training["config"]["model"] for card in cards()}
    for name in NAMES:
        network = kind(name)
        role = network.role
        what = _first(sys.modules[network.__module__].__doc__)
        yield f"`{name}`", what, role, ", ".join(ROLES[role].modes), "yes" if name in shipped else ""


def _commands(program: str, commands: typer.Typer) -> Iterator[Sequence[str]]:
    yield "command", "what it does"
    for name, command in get_group(commands).commands.items():
        yield f"`{program} {name}`", _first(command.help)


def _first(doc: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((doc or "").strip().split("\n\n")[0].split())


def table(rows: Iterator[Sequence[str]]) -> str:
    """Rows as a table in Markdown; the first is the heading."""
    heading, *others = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, ["---"] * len(heading), *others))


def _costs(name: str) -> str:
    card = next(card for card in cards() if card.name == name)
    return table(iter(cost.rows(card))) + f"\n\nMeasured on {card.training['timed_on']}."


def _figures_of(name: str) -> str:
    return table(_figures(name))


PARTS: dict[str, Callable[[], str]] = {
    "counts": _counts,
    "presets": lambda: table(_presets(apart=False)),
    "presets-of-the-seven": lambda: table(_presets(apart=True)),
    "seven": lambda: table(seven.worth(cards(), _measured("seven"))),
    "seven-story": lambda: table(seven.story()),
    "seven-made": lambda: table(seven.made(cards(), _sizes())),
    "models": lambda: table(_models()),
    **{
        f"figures-{name}": partial(_figures_of, name)
        for name in ("composer", "loop_denoiser", "loop_vae", "drummer", "harmoniser")
    },
    "costs-composer": lambda: _costs("composer"),
    "judge": lambda: table(_judge(faults=True)),
    "judge-seven": lambda: table(_judge(faults=True, file="judge_seven")),
    "judge-short": lambda: table(_judge(faults=False)),
    "credits": lambda: table(_credits()),
    "architectures": lambda: table(_architectures()),
    "controls": lambda: table(parameters.listed()),
    "commands": lambda: table(_commands("rtgen", cli.app)),
    "workshop-commands": lambda: table(_commands("rtgen-train", workshop.app)),
}
"""What makes each generated part, by name."""


if __name__ == "__main__":
    app()
