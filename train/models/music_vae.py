"""A recurrent VAE of two-bar loops with a hierarchical decoder, after MusicVAE.

The paper is Roberts et al., A Hierarchical Latent Vector Model for Learning Long-Term Structure in Music, 2018. One
LSTM reads a loop forwards and another backwards; their final states give the code. From the code a conductor LSTM
produces a vector for every beat, and another LSTM decodes it into the beat's sixteenths. As its authors used it, it
models melodies: one of all pitches, a rest or no change at each sixteenth. Repaired, it models melodies, or all notes
with onsets and velocities, at three steps per sixteenth.

One difference from the paper: the LSTM of a beat receives only the conductor's vector, not its own previous output. A
decoder with teacher forcing soon ignores the code. And all beats are decoded at once in a graph without sampling, as an
`.onnx` needs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops.melody import top_line
from train.loops.sample import GRID, Sample
from train.models.images import VELOCITY, Planes
from train.models.recurrent import Lstm
from train.models.vae import STEPS, Repairs, Vae, begin_at_prior

FRAMES_PER_BEAT = 4
FOLD = GRID.steps_per_beat // FRAMES_PER_BEAT
"""Steps per frame; a frame is a sixteenth."""
FRAMES = STEPS // FOLD
BEATS = FRAMES // FRAMES_PER_BEAT
HELD, REST = GRID.pitches, GRID.pitches + 1
"""Events of a melody besides a new pitch: hold the last one, or rest."""


class MusicVae(Vae):
    """The role `autoencoder`; other arguments as in `train.models.vae.Repairs`.

    Args:
        latents: size of a code.
        units: units of each LSTM.
        frame: size that a frame is projected to before the encoder.
        melody: model only the highest notes, without onset and velocity planes.
        pooled: the code is read from the states after every beat; the final ones remember the ends of a loop best.
        placed: each beat has weights of its own, with which the conductor reads the code; otherwise it would have to
            count beats.
    """

    description: ClassVar[str] = "Varies, blends and generates loops; recurrent autoencoder, beat by beat."

    def __init__(
        self,
        latents: int = 128,
        units: int = 256,
        frame: int = 256,
        melody: bool = False,
        pooled: bool = True,
        placed: bool = True,
        onset: bool = True,
        velocity: bool = True,
        prior_bias: bool = True,
        positive: float = 1.0,
        free_bits: float = 0.05,
        beta: float = 0.1,
        anneal: int = 1000,
        masked: bool = True,
        in_key: bool = True,
    ) -> None:
        repairs = Repairs(onset, velocity, prior_bias, positive, free_bits, beta, anneal, masked, in_key)
        super().__init__(latents, repairs)
        if melody and (repairs.planes > 1 or prior_bias or positive != 1):
            raise ValueError("'melody' excludes 'onset', 'velocity', 'prior_bias' and 'positive'")
        self.melody, self.pooled = melody, pooled
        self.units = units
        cells = REST + 1 if melody else repairs.planes * FOLD * GRID.pitches
        self.enter = nn.Linear(cells, frame)
        self.forwards, self.backwards = Lstm(frame, units), Lstm(frame, units)
        read = 2 * units * (BEATS if pooled else 1)
        self.to_mean, self.to_log_var = nn.Linear(read, latents), nn.Linear(read, latents)
        self.to_conductor = nn.Linear(latents, 2 * units)
        self.to_beats = nn.Linear(latents, BEATS * frame) if placed else None
        self.conductor = Lstm(frame if placed else latents, units)
        self.to_beat = nn.Linear(units, 2 * units)
        self.beat = Lstm(units + FRAMES_PER_BEAT, units)
        self.leave = nn.Linear(units, cells)
        if prior_bias:
            begin_at_prior(self.leave.bias.view(repairs.planes, -1), positive)

    # ---- encoder and decoder ----------------------------------------------------------------------------------------

    def see(self, roll: Tensor) -> Tensor:
        """Convert a roll to a picture; a melody is one-hot events (batch, 1, pitches + 2, frames)."""
        return melody_of(roll) if self.melody else super().see(roll)

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code."""
        x = torch.relu(self.enter(self._frames(picture)))
        nothing = x.new_zeros(x.shape[0], self.units)
        ahead, onwards, _ = self.forwards(x, nothing, nothing)
        behind, back, _ = self.backwards(x.flip(1), nothing, nothing)
        if self.pooled:
            onwards, back = (states[:, FRAMES_PER_BEAT - 1 :: FRAMES_PER_BEAT].flatten(1) for states in (ahead, behind))
        read = torch.cat([onwards, back], dim=1)
        return self.to_mean(read), self.to_log_var(read)

    def decode(self, code: Tensor) -> Tensor:
        """Logits of the picture."""
        hidden, cell = torch.tanh(self.to_conductor(code)).chunk(2, dim=1)
        if self.to_beats is not None:
            told = self.to_beats(code).unflatten(1, (BEATS, -1))
        else:
            told = code[:, None].expand(-1, BEATS, -1)
        said, _, _ = self.conductor(told, hidden, cell)
        said = said.reshape(-1, self.units)
        hidden, cell = torch.tanh(self.to_beat(said)).chunk(2, dim=1)
        place = torch.eye(FRAMES_PER_BEAT, device=code.device).expand(said.shape[0], -1, -1)
        heard = torch.cat([said[:, None].expand(-1, FRAMES_PER_BEAT, -1).to(place.dtype), place], dim=2)
        made, _, _ = self.beat(heard, hidden, cell)
        return self._picture(self.leave(made).reshape(-1, FRAMES, self.leave.out_features))

    def _frames(self, picture: Tensor) -> Tensor:
        """(batch, planes, pitches, steps) -> (batch, frames, planes * pitches * 3); for a melody (..., pitches + 2)."""
        if self.melody:
            return picture[:, 0].transpose(1, 2)
        return _folded(picture).permute(0, 3, 1, 2, 4).flatten(2)

    def _picture(self, frames: Tensor) -> Tensor:
        """The inverse of `_frames`."""
        if self.melody:
            return frames.transpose(1, 2).unsqueeze(1)
        cells = frames.reshape(-1, FRAMES, self.repairs.planes, GRID.pitches, FOLD)
        return cells.permute(0, 2, 3, 1, 4).flatten(3)

    # ---- melodies ---------------------------------------------------------------------------------------------------

    def heard(self, sample: Sample) -> Sample:
        """The loops as the network hears them: their top lines with `melody`."""
        return super().heard(top_line(sample) if self.melody else sample)

    def planes(self, code: Tensor) -> Planes:
        """Decode a code."""
        return planes_of(self.decode(code).float()) if self.melody else super().planes(code)

    def lost(self, logits: Tensor, picture: Tensor, filled: Tensor | None) -> Tensor:
        """Reconstruction loss; for a melody the cross-entropy of all frames."""
        if not self.melody:
            return super().lost(logits, picture, filled)
        each = F.cross_entropy(logits[:, 0], picture[:, 0].argmax(dim=1), reduction="none")
        if filled is not None:
            each = each * filled[:, 0, 0, ::FOLD]
        return each.sum() / len(logits)


def _folded(planes: Tensor) -> Tensor:
    """(batch, planes, pitches, steps) -> (batch, planes, pitches, frames, 3)."""
    return planes.reshape(*planes.shape[:3], FRAMES, FOLD)


def melody_of(roll: Tensor) -> Tensor:
    """Extract the top line of rolls (batch, 4, pitches, steps) as one-hot events (batch, 1, pitches + 2, frames).

    Each frame is the pitch that is struck, or `HELD`, or `REST`.
    """
    onset, hold = _folded(roll[:, :2]).amax(dim=4).unbind(1)
    # Increases with the pitch.
    order = torch.arange(1, GRID.pitches + 1, device=roll.device, dtype=roll.dtype)[None, :, None]
    highest = (hold * order).amax(dim=1)
    before = F.pad(highest, (1, 0))[:, :-1]
    at_top = (hold * order == highest[:, None]) & (highest[:, None] > 0)
    struck = (onset * at_top).amax(dim=1)
    new = (highest > 0) & ((highest != before) | (struck > 0))
    held, rest = (highest > 0) & ~new, highest == 0
    does = torch.cat([at_top & new[:, None], held[:, None], rest[:, None]], dim=1)
    return does[:, None].to(roll.dtype)


def planes_of(logits: Tensor) -> Planes:
    """Convert the logits of melodies (batch, 1, pitches + 2, frames) to planes of a roll."""
    chances = torch.softmax(logits[:, 0], dim=1)
    struck, goes_on = chances[:, : GRID.pitches], chances[:, HELD]
    sounds: list[Tensor] = []
    for frame in range(FRAMES):
        before = sounds[-1] if sounds else torch.zeros_like(struck[:, :, 0])
        sounds.append(struck[:, :, frame] + goes_on[:, None, frame] * before)
    hold = torch.stack(sounds, dim=2).repeat_interleave(FOLD, dim=2)
    onset = F.pad(struck[..., None], (0, FOLD - 1)).flatten(2)
    return onset, hold, torch.full_like(onset, VELOCITY), torch.zeros_like(onset)
