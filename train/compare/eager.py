"""Times exported models in onnxruntime and in eager torch, for `rtgen bench`.

    python -m train.compare.eager --count 200 MODEL.onnx ...

prints the output of `rtgen.bench.hot`, with an additional sample in torch for every model that can be rebuilt.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtgen.bench.hot import Watched, samples
from rtgen.errors import UserError
from rtgen.inference.card import PLANES
from rtgen.inference.model import Model, Tensor, memory_of
from train.export import PARITY, probe
from train.models.composer import Player
from train.models.loop_vae import LoopVae
from train.models.vae import Autoencoder
from train.weights import rebuild


class Eager(Watched):
    """A model whose network runs in torch on one thread.

    Raises:
        UserError: it cannot be rebuilt, or its outputs differ.
    """

    def __init__(self, path: Path) -> None:
        _, self._net = rebuild(path)
        self._torch = self._net.player()
        super().__init__(path)
        inputs = {name: x.numpy() for name, x in probe(self.card, 2, 96).items()}
        meant, found = Model(path).run(inputs), self.compute(inputs)
        worst = max(
            float(np.abs(meant[name] - found[name]).max() / max(np.abs(meant[name]).max(), 1)) for name in meant
        )
        if not worst < PARITY:
            raise UserError(f"{path} differs from the torch model of its weights by {worst:.1e}")

    def compute(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Like `Model.run`, in torch."""
        batch = len(next(iter(inputs.values())))
        defaults = {c.name: np.tile(np.asarray(c.default, np.float32), (batch, 1)) for c in self.card.conditions}
        every = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in {**defaults, **inputs}.items()}
        with torch.inference_mode():
            if isinstance(self._net, Autoencoder):
                found = self._halves(self._net, every)
            elif isinstance(self._torch, Player) and only == memory_of(self.card):
                (name,) = only
                found = {name: self._torch.remember(*(every[n] for n in ("note", "place", "known", "memory")))}
            else:
                outputs = self._torch(*(every[name] for name in self.card.inputs()))
                found = dict(zip(self.card.outputs(), outputs, strict=True))
        return {name: x.numpy() for name, x in found.items()}

    @staticmethod
    def _halves(net: Autoencoder, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Computes only the halves whose inputs are given, as onnxruntime does."""
        found: dict[str, torch.Tensor] = {}
        if "roll" in inputs:
            found["mean"] = net.mean(inputs["roll"])
        if "code" in inputs:
            found |= zip(PLANES, net.planes(inputs["code"]), strict=True)
        if "noise" in inputs and isinstance(net, LoopVae):
            found["drawn"] = net.of_noise(inputs["noise"], inputs["attributes"])
        return found


def main() -> None:
    """Measures the models and prints the samples as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for path in arguments.models:
        contenders: list[tuple[str, Watched]] = [("onnxruntime", Watched(path))]
        try:
            contenders.append(("torch eager", Eager(path)))
        except UserError as error:
            print(error, file=sys.stderr)
        found += samples(contenders, arguments.count)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
