"""Convolutional variational autoencoder on piano rolls of 96 pitches by 96 steps.

Strided convolutions shrink the picture, a dense layer turns the rest into a code, and transposed convolutions decode
it. Only drawings of the layers are known of the thesis that it reproduces, so the sizes in `conv_vae_as_described` are
the usual ones for such a network.

The repaired version starts with adjacent windows of an octave by a beat. The content of a window becomes channels, so
that all later layers see pitch classes and places in the beat, and are cheap. At equal training time it reconstructed
more notes than windows of half a beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.loops.sample import GRID
from train.models.images import wrap
from train.models.vae import STEPS, Repairs, Vae, begin_at_prior

Layer = Sequence[int]
"""Channels, stride in pitches and stride in steps."""


class Block(nn.Module):
    """A residual block, (batch, channels, rows, columns) -> the same; starts as the identity.

    The bottleneck has half as many channels.

    Args:
        channels: of input and output.
        dilation: of the convolution along the rows, which then goes around as in a loop; 0 for neither.
    """

    def __init__(self, channels: int, dilation: int = 0) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.GroupNorm(1, channels)
        self.around = nn.Conv2d(
            channels, channels // 2, 3, padding=(int(not dilation), 1), dilation=(max(dilation, 1), 1)
        )
        self.within = nn.Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.within.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the residual block."""
        y = F.silu(_normal(self.norm, x))
        result: Tensor = x + self.within(F.silu(self.around(wrap(y, self.dilation) if self.dilation else y)))
        return result


def _normal(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """`norm`; in an export from its parts, since onnxruntime's own loses digits where it sums up many cells."""
    if not torch.onnx.is_in_onnx_export():
        found: Tensor = norm(x)
        return found
    x = x - _mean(x)
    return x * torch.rsqrt(_mean(x * x) + norm.eps) * norm.weight[:, None, None] + norm.bias[:, None, None]


def _mean(x: Tensor) -> Tensor:
    """Mean of all cells of each picture, dimension by dimension: a sum of few numbers loses few digits."""
    return x.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)


class ConvVae(Vae):
    """The role `autoencoder`; other arguments as in `train.models.vae.Repairs`.

    Args:
        latents: size of a code.
        layers: encoder layers; the decoder mirrors them.
        hidden: units of the dense layer between convolutions and code, in encoder and decoder; 0 for none.
        blocks: residual blocks after each layer.
    """

    description: ClassVar[str] = "Varies, blends and generates two-bar loops; convolutional autoencoder."

    def __init__(
        self,
        latents: int = 96,
        layers: Sequence[Layer] = ((128, 12, 12), (64, 2, 2)),
        hidden: int = 0,
        blocks: int = 1,
        onset: bool = True,
        velocity: bool = True,
        prior_bias: bool = True,
        positive: float = 1.0,
        free_bits: float = 0.05,
        beta: float = 0.1,
        anneal: int = 500,
        masked: bool = True,
        in_key: bool = True,
    ) -> None:
        repairs = Repairs(onset, velocity, prior_bias, positive, free_bits, beta, anneal, masked, in_key)
        super().__init__(latents, repairs)
        channels = [self.repairs.planes, *(layer[0] for layer in layers)]
        strides = [(layer[1], layer[2]) for layer in layers]
        rows, columns = prod(p for p, _ in strides), prod(s for _, s in strides)
        if GRID.pitches % rows or STEPS % columns:
            raise ValueError(
                f"total strides of {rows} pitches and {columns} steps do not divide {GRID.pitches} and {STEPS}"
            )
        self.shape = (channels[-1], GRID.pitches // rows, STEPS // columns)
        size = prod(self.shape)
        self.encoder = nn.Sequential(
            *(
                part
                for a, b, stride in zip(channels, channels[1:], strides, strict=False)
                for part in (_down(a, b, stride), *(Block(b) for _ in range(blocks)), nn.ReLU())
            ),
            nn.Flatten(),
            *_dense(size, hidden),
        )
        self.to_mean = nn.Linear(hidden or size, latents)
        self.to_log_var = nn.Linear(hidden or size, latents)
        self.enter = nn.Sequential(*_dense(latents, hidden), nn.Linear(hidden or latents, size), nn.ReLU())
        self.decoder = nn.Sequential(
            *(
                part
                for a, b, stride in zip(channels[:1:-1], channels[-2:0:-1], strides[:0:-1], strict=True)
                for part in (*(Block(a) for _ in range(blocks)), _up(a, b, stride), nn.ReLU())
            ),
            *(Block(channels[1]) for _ in range(blocks)),
        )
        self.leave = _up(channels[1], channels[0], strides[0])
        if prior_bias:
            assert self.leave.bias is not None
            begin_at_prior(self.leave.bias, positive)

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code."""
        h = self.encoder(picture)
        return self.to_mean(h), self.to_log_var(h)

    def decode(self, code: Tensor) -> Tensor:
        """Logits of the picture."""
        logits: Tensor = self.leave(self.decoder(self.enter(code).reshape(-1, *self.shape)))
        return logits


def _dense(size: int, hidden: int) -> list[nn.Module]:
    return [nn.Linear(size, hidden), nn.ReLU()] if hidden else []


def _kernel(stride: int) -> tuple[int, int]:
    """Kernel size and padding: 3 and 1, or non-overlapping windows for strides above 2."""
    return (stride, 0) if stride > 2 else (3, 1)


def _down(a: int, b: int, stride: tuple[int, int]) -> nn.Conv2d:
    (rows, above), (columns, before) = map(_kernel, stride)
    return nn.Conv2d(a, b, (rows, columns), stride, (above, before))


def _up(a: int, b: int, stride: tuple[int, int]) -> nn.ConvTranspose2d:
    (rows, above), (columns, before) = map(_kernel, stride)
    # A kernel of 3 with stride 2 needs output padding of 1 to restore the size.
    more = (int(stride[0] == 2), int(stride[1] == 2))
    return nn.ConvTranspose2d(a, b, (rows, columns), stride, (above, before), more)
