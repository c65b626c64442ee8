"""LSTM layers (Hochreiter and Schmidhuber, 1997) that can be exported at any length, and clock features of the bar.

torch's exporter fixes the number of time steps in the graph of an `nn.LSTM`, so in an export the layer emits the ONNX
operator itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

PERIODS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Turns per bar of the clocks that encode the position: from the whole bar down to sixteenths and triplets."""
_GATES = (0, 3, 1, 2)
"""ONNX's order of the gates (input, output, forget, cell), as indices into torch's (input, forget, cell, output)."""


class Lstm(nn.Module):
    """An LSTM layer: (batch, time, inputs) -> (batch, time, units).

    Args:
        inputs: numbers per step.
        units: units of the layer.
        dropout: rate of recurrent dropout in training, with one mask for a whole batch and all steps (Gal and
            Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks, 2016).
    """

    def __init__(self, inputs: int, units: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.units = units
        self.dropout = dropout
        self.layer = nn.LSTM(inputs, units, batch_first=True)
        with torch.no_grad():
            # A forget bias of 1 (Jozefowicz et al., An Empirical Exploration of Recurrent Network Architectures, 2015).
            self._weights()["bias_ih_l0"][units : 2 * units] = 1

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of all steps and the two final states; a state has shape (batch, units)."""
        if torch.onnx.is_in_onnx_export():
            return self._operator(x, hidden, cell)
        state = hidden[None], cell[None]
        if self.training and self.dropout:
            # A dropped unit has a column of zeros.
            kept = nn.functional.dropout(torch.ones(self.units, device=x.device), self.dropout)
            weights = {"weight_hh_l0": self._weights()["weight_hh_l0"] * kept}
            y, (hidden, cell) = functional_call(self.layer, weights, (x, state))
        else:
            y, (hidden, cell) = self.layer(x, state)
        return y, hidden[0], cell[0]

    def _operator(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, time, _ = x.shape
        one = (1, batch, self.units)
        ordered = {name: _in_order(weights) for name, weights in self._weights().items()}
        bias = torch.cat([ordered["bias_ih_l0"], ordered["bias_hh_l0"]])
        weights = ordered["weight_ih_l0"][None], ordered["weight_hh_l0"][None], bias[None]
        y, hidden, cell = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (x.transpose(0, 1), *weights, None, hidden[None], cell[None]),
            {"hidden_size": self.units},
            dtypes=(x.dtype,) * 3,
            shapes=((time, *one), one, one),
        )
        return y.squeeze(1).transpose(0, 1), hidden[0], cell[0]

    def _weights(self) -> dict[str, nn.Parameter]:
        return dict(self.layer.named_parameters())


def _in_order(weights: Tensor) -> Tensor:
    """Reorder weights from torch's gate order to ONNX's."""
    ordered: Tensor = weights.reshape(4, -1)[list(_GATES)].reshape(weights.shape)
    return ordered


def clocks(turn: Tensor) -> Tensor:
    """Position in the bar as sine and cosine of clocks with the turns of `PERIODS`: (...) -> (..., 2 * clocks).

    Args:
        turn: position as a fraction of the bar.
    """
    turns = 2 * torch.pi * turn.unsqueeze(-1) * turn.new_tensor(PERIODS)
    return torch.cat([torch.sin(turns), torch.cos(turns)], dim=-1)
