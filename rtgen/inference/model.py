"""Running a model. The only module that imports onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.card import INTEGERS, Card, Shape
from rtgen.inference.file import card_in, read
from rtgen.inference.prune import prune

Device = Literal["auto", "cpu", "cuda", "coreml", "directml"]
DEVICES: tuple[Device, ...] = get_args(Device)
Tensor = NDArray[Any]
"""float32, or int64 for the inputs in `card.INTEGERS`."""

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_NEVER_ZERO = frozenset({"place", "temperature", "least"})
"""Inputs used as a divisor or inside a logarithm."""
# On Windows it takes this call, elsewhere the environment variable that `rtgen.inference` sets.
ort.disable_telemetry_events()
# Its warnings go to the terminal, and repeat names that are in a model.
ort.set_default_logger_severity(4)


@dataclass(frozen=True, slots=True)
class _Part:
    """An onnxruntime session and its inputs and outputs: the whole model, or the half that starts at input `half`."""

    half: str | None
    inputs: list[str]
    outputs: list[str]
    session: ort.InferenceSession


class Model:
    """A network checked against its card.

    Args:
        path: the `.onnx` file.
        device: execution device. `auto` benchmarks every available device and takes the fastest, which is often the CPU
            for networks that take a few milliseconds.

    Raises:
        UserError: the file is missing, is not an ONNX model, names another file, has no valid card, or does not match
            its card.
        MemoryError: there is not enough memory for it.
    """

    def __init__(self, path: Path, device: Device = "cpu") -> None:
        self.path = path
        self._data = read(path)
        self.device: str = "cpu"
        self.remark = ""
        """A sentence for the player if the requested device is not available."""
        self.card = card_in(self._data, path)
        whole = self._open(self._data, "cpu")
        self._check_shapes(whole)
        self._parts = self._open_parts("cpu")
        self._check_runs()
        self._choose(device)
        self._fewer = {only: self._open_part(None, only, self.device) for only in self._steps()}
        del self._data

    def run(self, inputs: dict[str, Tensor], only: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Runs the model on a batch of inputs; conditions not given take their defaults.

        For a model in two halves (an autoencoder), only the half whose input is given is computed.

        Args:
            inputs: arrays as in `Card.inputs`, all with the same batch size.
            only: outputs to compute, leaving out the rest of the graph. A composer accepts `memory_of` and `step_of`
                its card; for other models it must be empty.

        Returns:
            Outputs by name.

        Raises:
            UserError: an output contains NaN or infinite values.
        """
        batch = len(next(iter(inputs.values())))
        feed = self._fed(inputs)
        if only:
            part = self._fewer[only]
            values = part.session.run(part.outputs, {name: feed[name] for name in part.inputs})
            return self._finite(dict(zip(part.outputs, values, strict=True)))
        outputs: dict[str, Tensor] = {}
        for part in self._parts:
            if part.half is None:
                values = part.session.run(part.outputs, feed)
            elif part.half in inputs:
                # The exported graph may read the batch size from the other half's input; its values do not matter.
                other = self._zeros(self._sizes(self.card.min_steps, batch), set(part.inputs) - set(feed))
                values = part.session.run(part.outputs, {n: v for n, v in (feed | other).items() if n in part.inputs})
            else:
                continue
            outputs |= zip(part.outputs, values, strict=True)
        return self._finite(outputs)

    def _fed(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adds the defaults of conditions that are not given."""
        if not self.card.conditions:
            return inputs
        batch = len(next(iter(inputs.values())))
        others = (c for c in self.card.conditions if c.name not in inputs)
        return {c.name: np.tile(np.asarray(c.default, np.float32), (batch, 1)) for c in others} | inputs

    def _finite(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, value in outputs.items():
            # A NaN or infinity anywhere makes the sum non-finite.
            if value.dtype.kind == "f" and not isfinite(value.sum()):
                raise UserError(f"{self.path}: output {name!r} contains NaN or infinite values; train it again")
        return outputs

    def seconds(self, runs: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
        """Measures the median time of a run, in seconds of a clock; `time.process_time` leaves out what others do.

        The input is two bars of 4/4, clipped to the lengths the model accepts; one symbol for a sequence model; one
        note for a composer.
        """
        inputs = self._zeros(self._sizes(min(max(96, self.card.min_steps), self.card.max_steps)))
        times = []
        for _ in range(runs):
            start = clock()
            self.run(inputs)
            times.append(clock() - start)
        return sorted(times)[runs // 2]

    def _steps(self) -> list[tuple[str, ...]]:
        """Return the sets of outputs that can be computed alone."""
        return [memory_of(self.card), step_of(self.card)] if self.card.kind.hears else []

    def _open_parts(self, device: str) -> list[_Part]:
        """Opens the model, or its halves so that one can be computed without the other."""
        halves = self.card.halves()
        if not halves:
            session = self._open(self._data, device)
            return [_Part(None, [i.name for i in session.get_inputs()], list(self.card.outputs()), session)]
        return [self._open_part(half, outputs, device) for half, outputs in halves.items()]

    def _open_part(self, half: str | None, outputs: Sequence[str], device: str) -> _Part:
        """Opens the part of the graph that some outputs need."""
        try:
            session = self._open(prune(self._data, outputs), device)
        except ValueError as error:
            raise UserError(f"{self.path} is not valid ONNX ({error}); export it again") from error
        return _Part(half, [i.name for i in session.get_inputs()], list(outputs), session)

    def _open(self, data: bytes, device: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        # One thread that sleeps when idle: the real-time thread needs the other core more than inference needs two.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        # Another format that onnxruntime would recognise, and that `read` does not look into.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            return ort.InferenceSession(data, options, providers=[_PROVIDERS[device]])
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise UserError(f"{self.path} is not an ONNX model that onnxruntime can run; export it again") from error

    def _choose(self, device: Device) -> None:
        there = devices_here()
        if device == "auto":
            speeds: dict[str, tuple[float, list[_Part]]] = {}
            for name in there:
                self._parts = self._open_parts(name) if name != "cpu" else self._parts
                self.seconds(2)
                speeds[name] = (self.seconds(), self._parts)
            self.device = min(speeds, key=lambda name: speeds[name][0])
            self._parts = speeds[self.device][1]
        elif device in there:
            if device != "cpu":
                self._parts = self._open_parts(device)
            self.device = device
        else:
            self.remark = (
                f"Device {device} is not available (onnxruntime offers {', '.join(there)}), so the CPU runs the model; "
                "for CUDA install the extra 'rtgen[gpu]'"
            )

    def _sizes(self, steps: int, batch: int = 1) -> dict[str, int]:
        """Sizes of the free dimensions for a run on at least `steps` steps, or on one symbol of a sequence."""
        return {"batch": batch, "steps": -(-steps // self.card.step_multiple) * self.card.step_multiple, "time": 1}

    def _zeros(self, sizes: dict[str, int], names: set[str] | None = None) -> dict[str, Tensor]:
        """Input tensors of zeros, or of ones where zero is not allowed; for all inputs or those named."""
        return {
            name: np.full(_exact(shape, sizes), int(name in _NEVER_ZERO), np.int64 if name in INTEGERS else np.float32)
            for name, shape in self.card.inputs().items()
            if names is None or name in names
        }

    def _check_shapes(self, whole: ort.InferenceSession) -> None:
        """Checks the names, shapes and types declared in the file against its card."""
        for kind, wanted, found in (
            ("input", self.card.inputs(), whole.get_inputs()),
            ("output", self.card.outputs(), whole.get_outputs()),
        ):
            tensors = {tensor.name: tensor for tensor in found}
            for name, shape in wanted.items():
                if name not in tensors:
                    raise UserError(f"{self.path} has no {kind} {name!r}, which its card declares; export it again")
                if not _fits(shape, tensors[name].shape):
                    raise UserError(
                        f"{self.path}: {kind} {name!r} has the shape {tensors[name].shape}, its card says "
                        f"{list(shape)}; export it again"
                    )
                numbers = "int64" if name in INTEGERS else "float"
                if tensors[name].type != f"tensor({numbers})":
                    raise UserError(
                        f"{self.path}: {kind} {name!r} is a {tensors[name].type}, not a tensor({numbers}); "
                        "export it again"
                    )
        extra = {t.name for t in whole.get_inputs()} - set(self.card.inputs())
        if extra:
            raise UserError(
                f"{self.path} wants an input {extra.pop()!r}, which its card does not declare; export it again"
            )

    def _check_runs(self) -> None:
        """Checks the shapes of actual outputs against the card."""
        steps = self.card.min_steps
        self._try(self._sizes(steps))
        # A traced model may have its example size baked in.
        longer = min(steps + self.card.step_multiple, self.card.max_steps)
        self._try({**self._sizes(longer, batch=2), "time": 3})

    def _try(self, sizes: dict[str, int]) -> None:
        try:
            outputs = self.run(self._zeros(sizes))
        except UserError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise UserError(f"{self.path} does not run with the shapes on its card; export it again") from error
        for name, shape in self.card.outputs().items():
            if outputs[name].shape != _exact(shape, sizes):
                raise UserError(
                    f"{self.path}: output {name!r} comes out as {outputs[name].shape}, its card says "
                    f"{_exact(shape, sizes)}; export it again"
                )


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether Python or onnxruntime was refused memory; the latter's exceptions have no type of their own."""
    return isinstance(error, MemoryError) or "alloc" in str(error)


def _exact(shape: Shape, sizes: dict[str, int]) -> tuple[int, ...]:
    """Replaces dimension names by numbers."""
    return tuple(sizes[d] if isinstance(d, str) else d for d in shape)


def memory_of(card: Card) -> tuple[str, ...]:
    """Outputs of a composer that only listens to a note: its next states."""
    return tuple(f"{state.name}_next" for state in card.states)


def step_of(card: Card) -> tuple[str, ...]:
    """Outputs of a composer that samples a note: the note and its next states."""
    return ("chosen", *memory_of(card))


def devices_here() -> list[str]:
    """Devices that onnxruntime can use on this machine, the CPU first."""
    there = ort.get_available_providers()
    return ["cpu", *(device for device, provider in _PROVIDERS.items() if device != "cpu" and provider in there)]


def _fits(wanted: Shape, found: list[int | str | None]) -> bool:
    """Whether a declared shape matches the card: fixed sizes equal, free dimensions free."""
    return len(wanted) == len(found) and all(
        w == f if isinstance(w, int) and isinstance(f, int) else not isinstance(f, int)
        for w, f in zip(wanted, found, strict=True)
    )
