"""Reads what an `.onnx` file says about itself (`onnx.proto`), without running anything of it.

A model is a stranger's: onnxruntime, which runs it, sees it only in the worker process, and only after `read`.
"""

from __future__ import annotations

from pathlib import Path

from rtgen.errors import UserError
from rtgen.inference.card import METADATA_KEY, Card
from rtgen.inference.protobuf import Bytes, fields, number
from rtgen.whole import contents

_MAX_BYTES = 256 * 2**20
_MAX_CARD = 16 * 2**20
_MAX_FIELDS = 2_000_000
"""Most fields that are looked at, which takes a few seconds; weights are one field each."""
_METADATA = 14
"""Field of ModelProto."""
_KEY, _VALUE = 1, 2
"""Fields of StringStringEntryProto."""
_GRAPH = 7
INSIDE: dict[str, dict[int, str]] = {
    "Model": {_GRAPH: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Tensor": {},
}
"""The fields of each message that may hold a tensor, at any depth."""
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of TensorProto that name another file."""


def read(path: Path) -> bytes:
    """Reads a model whose weights are all in the file.

    Raises:
        UserError: it cannot be read, is too large, is no ONNX model, or names another file.
    """
    data = _contents(path)
    try:
        if names_a_file(data):
            raise UserError(
                f"{path} keeps weights in another file, which rtgen does not read; export it again, with its weights "
                "inside"
            )
    except ValueError as error:
        raise _no_model(path) from error
    return data


def card_of(path: Path) -> Card:
    """Reads the card of a model.

    Raises:
        UserError: it cannot be read, is no ONNX model, or its card is missing or invalid.
    """
    return card_in(_contents(path), path)


def card_in(model: bytes, path: Path) -> Card:
    """Reads the card from the bytes of a model; messages name its path.

    Raises:
        UserError: it is no ONNX model, or its card is missing or invalid.
    """
    try:
        found, has_graph = _metadata(model)
    except ValueError as error:
        raise _no_model(path) from error
    if not has_graph:
        raise _no_model(path)
    try:
        said = {METADATA_KEY: bytes(found).decode()} if found is not None else {}
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the card in its metadata is not UTF-8 text; export it again") from error
    if found is not None and len(found) > _MAX_CARD:
        raise UserError(f"{path}: its card is larger than {_MAX_CARD >> 20} MB; export it again")
    return Card.from_metadata(said, str(path))


def names_a_file(model: Bytes) -> bool:
    """Returns whether any tensor of a model is, or claims to be, in another file ("external data").

    Raises:
        ValueError: the model is malformed.
    """
    left = _MAX_FIELDS
    waiting: list[tuple[str, Bytes]] = [("Model", memoryview(model))]
    while waiting:
        kind, message = waiting.pop()
        inside = INSIDE[kind]
        for field, content, whole in fields(message):
            left -= 1
            if not left:
                raise ValueError("too many fields")
            if field in inside:
                waiting.append((inside[field], content))
            elif kind == "Tensor" and (
                field == EXTERNAL_DATA or (field == DATA_LOCATION and number(whole, number(whole, 0)[1])[0])
            ):
                return True
    return False


def _metadata(model: Bytes) -> tuple[Bytes | None, bool]:
    """Returns the last card of a model, as onnxruntime would, and whether there is a graph."""
    card, has_graph = None, False
    for count, (field, content, _) in enumerate(fields(memoryview(model))):
        if count > _MAX_FIELDS:
            raise ValueError("too many fields")
        has_graph = has_graph or field == _GRAPH
        if field == _METADATA:
            entry = {part: value for part, value, _ in fields(content)}
            if entry.get(_KEY, b"") == METADATA_KEY.encode():
                card = entry.get(_VALUE, b"")
    return card, has_graph


def _contents(path: Path) -> bytes:
    try:
        data = contents(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(f"Model {path} cannot be read ({error.strerror}); check the path") from error
    if data is None:
        raise UserError(f"Model {path} is larger than {_MAX_BYTES >> 20} MB; it is not one of rtgen's")
    return data


def _no_model(path: Path) -> UserError:
    return UserError(f"{path} is not an ONNX model that onnxruntime can run; export it again")
