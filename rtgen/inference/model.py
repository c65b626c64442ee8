"""Running a model: the only importer of onnxruntime."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.inference.card import Card, Shape

Device = Literal["auto", "cpu", "cuda", "coreml", "directml"]
DEVICES: tuple[Device, ...] = get_args(Device)
Tensor = NDArray[np.float32]

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_MAX_BYTES = 256 * 2**20


class Model:
    """A network that has shown to keep its contract.

    Args:
        path: the `.onnx` file.
        device: what runs it. `auto` times every one that is there and takes the fastest, which for networks of a few
            milliseconds is often the CPU.

    Raises:
        UserError: the file is missing, is no ONNX model, has no valid card, or is not what its card says.
    """

    def __init__(self, path: Path, device: Device = "cpu") -> None:
        self.path = path
        self._data = _read(path)
        self.device: str = "cpu"
        self.remark = ""
        """A sentence for the player, where the device asked for is not there."""
        self._session = self._open("cpu")
        self.card = Card.from_metadata(self._session.get_modelmeta().custom_metadata_map, str(path))
        self._check()
        self._choose(device)
        del self._data

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name for a batch of inputs; conditions that are not given take their defaults.

        Args:
            inputs: float32 arrays as in `Card.inputs`, all with the same batch size.

        Raises:
            UserError: what comes out is not numbers.
        """
        batch = len(next(iter(inputs.values())))
        feed = {
            c.name: np.tile(np.asarray(c.default, np.float32), (batch, 1))
            for c in self.card.conditions
            if c.name not in inputs
        }
        names = list(self.card.outputs())
        values = self._session.run(names, {**feed, **inputs})
        for name, value in zip(names, values, strict=True):
            if not np.isfinite(value).all():
                raise UserError(f"{self.path}: output {name!r} holds values that are no numbers; train it again")
        return dict(zip(names, values, strict=True))

    def seconds(self, runs: int = 5) -> float:
        """The median time of a run on a loop of two bars of 4/4, or the model's shortest, in seconds."""
        inputs = self._probe(max(96, self.card.min_steps))
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run(inputs)
            times.append(time.perf_counter() - start)
        return sorted(times)[runs // 2]

    def _open(self, device: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        # One thread that sleeps when idle: the real-time loop needs the other core more than a loop needs two.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            return ort.InferenceSession(self._data, options, providers=[_PROVIDERS[device]])
        except Exception as error:
            raise UserError(f"{self.path} is not an ONNX model that can be run; export it again") from error

    def _choose(self, device: Device) -> None:
        there = devices_here()
        if device == "auto":
            speeds: dict[str, tuple[float, ort.InferenceSession]] = {}
            for name in there:
                self._session = self._open(name) if name != "cpu" else self._session
                self.seconds(2)
                speeds[name] = (self.seconds(), self._session)
            self.device = min(speeds, key=lambda name: speeds[name][0])
            self._session = speeds[self.device][1]
        elif device in there:
            if device != "cpu":
                self._session = self._open(device)
            self.device = device
        else:
            self.remark = (
                f"Device {device} is not here (onnxruntime offers {', '.join(there)}), so the CPU runs the model; "
                "for CUDA install the extra 'rtgen[gpu]'"
            )

    def _whole(self, steps: int) -> int:
        return -(-steps // self.card.step_multiple) * self.card.step_multiple

    def _probe(self, steps: int) -> dict[str, Tensor]:
        sizes = {"batch": 1, "steps": self._whole(steps)}
        return {
            name: np.zeros([sizes[d] if isinstance(d, str) else d for d in shape], np.float32)
            for name, shape in self.card.inputs().items()
        }

    def _check(self) -> None:
        """Holds the file against its card: names and shapes as declared, and as they come out."""
        for kind, wanted, found in (
            ("input", self.card.inputs(), self._session.get_inputs()),
            ("output", self.card.outputs(), self._session.get_outputs()),
        ):
            shapes = {tensor.name: tensor.shape for tensor in found}
            for name, shape in wanted.items():
                if name not in shapes:
                    raise UserError(f"{self.path} has no {kind} {name!r}, which its card promises; export it again")
                if not _fits(shape, shapes[name]):
                    raise UserError(
                        f"{self.path}: {kind} {name!r} has the shape {shapes[name]}, its card says {list(shape)}; "
                        "export it again"
                    )
        extra = {t.name for t in self._session.get_inputs()} - set(self.card.inputs())
        if extra:
            raise UserError(
                f"{self.path} wants an input {extra.pop()!r}, which its card does not name; export it again"
            )
        for steps in sorted({self.card.min_steps, self.card.min_steps + self.card.step_multiple}):
            self._try(min(steps, self.card.max_steps))

    def _try(self, steps: int) -> None:
        steps = self._whole(steps)
        try:
            outputs = self.run(self._probe(steps))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self.path} does not run on the shapes that its card names; export it again") from error
        sizes = {"batch": 1, "steps": steps}
        for name, shape in self.card.outputs().items():
            exact = tuple(sizes[d] if isinstance(d, str) else d for d in shape)
            if outputs[name].shape != exact:
                raise UserError(
                    f"{self.path}: output {name!r} comes out as {outputs[name].shape}, its card says {exact}; "
                    "export it again"
                )


def devices_here() -> list[str]:
    """The devices that onnxruntime can use on this machine, the CPU first."""
    there = ort.get_available_providers()
    return ["cpu", *(device for device, provider in _PROVIDERS.items() if device != "cpu" and provider in there)]


def _fits(wanted: Shape, found: list[int | str | None]) -> bool:
    """Whether a declared shape agrees with the card's: fixed sizes equal, free dimensions free."""
    return len(wanted) == len(found) and all(
        w == f if isinstance(w, int) and isinstance(f, int) else not isinstance(f, int)
        for w, f in zip(wanted, found, strict=True)
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"Model {path} is larger than {_MAX_BYTES >> 20} MB; it is not one of rtgen's")
        # From memory, so that a file that names further files of weights cannot reach them.
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Model {path} cannot be read ({error.strerror}); check the path") from error
