"""Songs as one implicit function: from a song's code and a point in time to the notes that sound then.

There is no encoder: the code of every training song is a parameter, random at first, and is trained together with the
function, as in an auto-decoder (Park et al., DeepSDF, 2019). Codes between or near known ones, or elsewhere, give new
music. A reader gives what is played a code. It is trained together with the function on all loops: a reader that has to
guess the codes of a function that knows only some songs learns those songs, and little else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from rtgen.errors import UserError
from rtgen.inference.card import Condition
from rtgen.music.roll import pick_onsets
from train.loops.batch import in_slots, rasterise
from train.loops.dataset import BARS, Loops
from train.loops.sample import GRID, Sample
from train.models import images
from train.models.base import Aim, Source, Task
from train.models.images import Planes
from train.models.implicit import Function, Reader, rates
from train.models.vae import STEPS, Autoencoder, begin_at_prior, latents_of, reconstruction_f1, reconstruction_loss

PACE = 10.0
"""Learning rate of a code relative to a weight; a code is updated that much less often."""
KNOWN = 64
"""Training songs used in a validation."""
BY_HEART = 0.25
"""Share of a task, if there is a reader, that are songs with codes of their own."""


class Nemui(Autoencoder):
    """The role `autoencoder` with a reader, and `generator` without.

    Args:
        songs: how many stretches of music get a code, chosen at random.
        bars: length of each, in whole loops. If it is more than one loop, the condition `place` selects the loop to
            play.
        latents: size of a code.
        width: units of each layer.
        layers: layers of the function, not counting the last.
        moments: steps sampled from each loop for a task; 0 for all.
        beats: count time in beats, not in fractions of the song.
        onset: add planes of onsets and velocities beside hold.
        scaled: let the code scale the units of every layer, not only enter the first.
        prior: keep codes near zero and train them with noise, so that codes in between give music too.
        noise: standard deviation of that noise.
        beta: weight of the prior in the loss, per nat; with `prior`.
        reader: train a network that gives a loop its code, on all loops.
        in_key: transpose all music to C major or A minor.
        firsts: first loop of each song, as an index into the training loops.
    """

    role = "autoencoder"
    repeats: ClassVar[bool] = True
    description: ClassVar[str] = "Songs as points in a latent space: varies and blends loops, and generates new ones."
    rates: Tensor
    known: Tensor

    def __init__(
        self,
        songs: int = 2000,
        bars: int = 2,
        latents: int = 128,
        width: int = 512,
        layers: int = 3,
        moments: int = 24,
        beats: bool = True,
        onset: bool = True,
        scaled: bool = True,
        prior: bool = True,
        noise: float = 0.1,
        beta: float = 0.2,
        reader: bool = True,
        in_key: bool = True,
        firsts: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if bars < BARS or bars % BARS:
            raise ValueError(f"'bars' is {bars}, which is not a multiple of {BARS}")
        if min(songs, latents, width, layers) < 1 or moments < 0:
            raise ValueError("'songs', 'latents', 'width' and 'layers' must be above 0, and 'moments' at least 0")
        if reader and bars > BARS:
            raise ValueError(f"a 'reader' needs songs of {BARS} bars, not {bars}")
        self.places = bars // BARS
        self.moments = min(moments, STEPS) or STEPS
        self.onset, self.prior, self.noise, self.beta, self.in_key = onset, prior, noise, beta, in_key
        if not reader:
            self.role = "generator"  # type: ignore[misc]
        self.firsts = np.array(firsts, np.int64)
        count = len(firsts) or songs
        # Small with `prior`, so that similar songs stay together while the codes spread out.
        self.table = nn.Embedding(count, latents)
        nn.init.normal_(self.table.weight, std=(0.1 if prior else 1.0) / PACE)
        self.register_buffer("rates", rates(bars, beats), persistent=False)
        cells = (3 if onset else 1) * GRID.pitches
        self.function = Function(latents, 2 * len(self.rates), width, layers, cells, scaled)
        self.reader = Reader(latents) if reader else None
        if prior or onset:
            begin_at_prior(self.function.leave.bias.view(-1, GRID.pitches), 1.0)
        # Onsets of the first songs, for validation.
        known = torch.zeros(min(KNOWN, count), GRID.pitches, STEPS, dtype=torch.bool)
        self.register_buffer("known", known, persistent=False)

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the stretches of music that are the songs.

        Raises:
            UserError: no stretch is long enough.
        """
        bars = settings.get("bars", BARS)
        found = stretches(loops, max(bars // BARS, 1))
        if not len(found):
            raise UserError(f"the training loops have no {bars} consecutive bars; set 'bars' lower")
        chosen = np.random.default_rng(0).permutation(found)[: settings.get("songs", 2000)]
        return {"firsts": chosen.tolist()}

    # ---- the function ---------------------------------------------------------------------------------------------

    def codes_of(self, songs: Tensor) -> Tensor:
        """The codes (batch, latents) of songs given by index (batch)."""
        found: Tensor = self.table(songs) * PACE
        return found

    def logits(self, code: Tensor, time: Tensor) -> Tensor:
        """Logits of pictures, shape (batch, planes, pitches, moments).

        Args:
            code: shape (batch, latents).
            time: steps since the beginning of the song, shape (batch, moments) or (1, moments).
        """
        angles = time[:, :, None] * self.rates
        found: Tensor = self.function(code, torch.cat([torch.sin(angles), torch.cos(angles)], dim=2))
        return found.reshape(*found.shape[:2], -1, GRID.pitches).permute(0, 2, 3, 1).float()

    def mean(self, roll: Tensor) -> Tensor:
        """Codes predicted by the reader."""
        assert self.reader is not None
        found: Tensor = self.reader(roll[:, :2]).float()
        return found

    def planes(self, code: Tensor, place: Tensor | None = None) -> Planes:
        """Decode codes, at loop `place` (batch, 1) of their songs; the first by default."""
        time = torch.arange(STEPS, device=code.device, dtype=torch.float32)[None]
        logits = self.logits(code, time if place is None else time + place * STEPS)
        onset, hold, velocity, micro = images.to_planes(torch.sigmoid(logits[:, :2]), velocity=False)
        return onset, hold, torch.sigmoid(logits[:, 2]) if self.onset else velocity, micro

    # ---- training -------------------------------------------------------------------------------------------------

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Loops of known songs with song index and place; and, with a reader, arbitrary loops, whose index is -1.

        Known songs are not augmented, since an augmented song would be a different one.
        """
        if not self.known.any():
            begun = self.heard(Sample.of(source.loops, self.firsts[: len(self.known)]))
            self.known.copy_(torch.from_numpy(rasterise(begun.notes, begun.count, begun.length)[:, 0] > 0))
        known = count if self.reader is None else round(BY_HEART * count)
        songs, places = rng.integers(0, len(self.firsts), known), rng.integers(0, self.places, known)
        task = self.task(self.heard(Sample.of(source.loops, self.firsts[songs] + places)), rng)
        task |= {"song": torch.from_numpy(songs), "place": torch.from_numpy(places)}
        if known < count:
            read = super().draw(source, count - known, rng)
            task = {name: torch.cat([x, read[name]]) for name, x in task.items()}
        return task

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Loops to be read, the steps to evaluate, and noise for their codes."""
        count = sample.count
        moments = rng.permuted(np.tile(np.arange(STEPS), (count, 1)), axis=1)[:, : self.moments]
        noise = self.noise * rng.standard_normal((count, self.table.embedding_dim), np.float32)
        return {
            "roll": torch.from_numpy(in_slots(sample)),
            "moments": torch.from_numpy(moments),
            "noise": torch.from_numpy(noise),
            "song": torch.full((count,), -1),
            "place": torch.zeros(count, dtype=torch.long),
        }

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: reconstruction of known songs from their codes and of other loops from what the reader says."""
        songs = task["song"]
        code = self.codes_of(songs.clamp(min=0))
        if self.reader is not None:
            code = torch.where(songs[:, None] < 0, self.mean(task["roll"]), code)
        cost = self.cost(code) / self.places
        near = code + task["noise"] if self.prior else code
        lost = self.lost(near, task)
        yield Aim(lost + cost, log={"reconstruction": lost.detach(), "cost": cost.detach()})

    def cost(self, code: Tensor) -> Tensor:
        """Nats of codes under a standard normal prior; keeps them near zero and near each other."""
        return self.beta / 2 * (code**2).sum(dim=1).mean() if self.prior else code.new_zeros(())

    def lost(self, code: Tensor, task: Task) -> Tensor:
        """Reconstruction loss of rolls given their codes, extrapolated from the sampled steps to whole loops."""
        moments = task["moments"]
        logits = self.logits(code, (moments + task["place"][:, None] * STEPS).float())
        starts, hold, loud, _ = task["roll"].unbind(1)
        picture = torch.stack([hold, starts, loud][: 3 if self.onset else 1], dim=1)
        seen = picture.gather(3, moments[:, None, None].expand(-1, *picture.shape[1:3], -1))
        return reconstruction_loss(logits, seen) * (STEPS / self.moments)

    # ---- evaluation -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Compute figures on known songs and on unknown loops.

        `known_f1`: F1 of known songs decoded from their codes, with the true number of notes. `onset_f1`: the same for
        validation loops, through the reader; without one it is that of known songs. `blend_notes`: notes halfway
        between two songs at a threshold of one half, relative to those of known songs; 0 is silence. `drawn_notes`: the
        same for random codes.
        """
        codes = self.table.weight[: len(self.known)] * PACE
        mean, sd = codes.mean(dim=0), codes.std(dim=0)
        noise = torch.randn(codes.shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        ways = {"known": codes, "blend": (codes + codes.roll(1, 0)) / 2, "drawn": mean + sd * noise}
        made = {name: self.planes(code)[0].cpu().numpy() for name, code in ways.items()}
        meant = self.known.cpu().numpy()
        f1 = float(np.mean([_f1(*pair) for pair in zip(made["known"], meant, strict=True)]))
        figures = {"known_f1": f1, "onset_f1": f1}
        for name in "blend", "drawn":
            figures[f"{name}_notes"] = _notes(made[name]) / max(_notes(made["known"]), 1)
        if self.reader is not None:
            rng = np.random.default_rng(0)
            heard = self.heard(source.take(rng.permutation(len(source.loops))[: 4 * KNOWN], rng))
            figures["onset_f1"] = reconstruction_f1(self, heard)
        return figures

    def player(self) -> nn.Module:
        """The reader and the function side by side, or the function alone."""
        return super().player() if self.reader is not None else _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Latent ranges, without a reader those of the trained codes, and the condition `place` for long songs."""
        if self.reader is not None:
            return super().card(train, valid)
        codes = (self.table.weight.detach() * PACE).cpu().numpy()
        place = Condition("place", 1, (0.0,), f"which loop of the song, 0 to {self.places - 1}")
        return {
            "min_steps": STEPS,
            "max_steps": STEPS,
            "description": "Generates new songs from a latent space of known ones.",
            "latents": latents_of(codes),
            "in_key": self.in_key,
            "conditions": (place,) if self.places > 1 else (),
        }


def stretches(loops: Loops, count: int) -> NDArray[np.int64]:
    """First loop of every stretch of `count` consecutive loops of a track; stretches do not overlap."""
    same = (loops.songs[1:] == loops.songs[:-1]) & (loops.tracks[1:] == loops.tracks[:-1])
    follows = np.concatenate([[False], same & (np.diff(loops.starts) == loops.length)])
    begins = np.flatnonzero(~follows)
    run = np.cumsum(~follows) - 1
    lengths = np.diff(np.append(begins, len(loops)))
    within = np.arange(len(loops)) - begins[run]
    return np.flatnonzero((within % count == 0) & (within + count <= lengths[run]))


class _Player(nn.Module):
    def __init__(self, net: Nemui) -> None:
        super().__init__()
        self.net = net

    def forward(self, code: Tensor, place: Tensor | None = None) -> Planes:
        """Return the planes onset, hold, velocity and micro of `code`, at a place of a long song."""
        return self.net.planes(code, place)


def _f1(made: NDArray[np.float32], meant: NDArray[np.bool_]) -> float:
    """F1 of the likeliest onsets, as many as in the target."""
    found = np.zeros_like(meant)
    found[pick_onsets(made, int(meant.sum()))] = True
    return 2 * float((found & meant).sum()) / max(int(found.sum() + meant.sum()), 1)


def _notes(onset: NDArray[np.float32]) -> int:
    """Number of onsets above one half, in planes of shape (loops, pitches, steps)."""
    return sum(len(pick_onsets(plane)[0]) for plane in onset)
