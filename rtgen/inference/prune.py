"""Extracts the part of an ONNX model that some outputs need.

onnxruntime computes the whole graph, whichever outputs are requested. The package onnx could extract a part, but it is
large and not needed otherwise; this module parses just enough of the format (Protocol Buffers; `onnx.proto`) to drop
nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_GRAPH = 7
"""Field of ModelProto."""
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
"""Fields of GraphProto."""
_NODE_INPUT, _NODE_OUTPUT, _ATTRIBUTE = 1, 2, 5
"""Fields of NodeProto."""
_SUBGRAPHS = 6, 11
"""Fields of AttributeProto."""
_NAME = {_INITIALIZER: 8, _INPUT: 1, _OUTPUT: 1}
"""Field number of the name within each of these graph fields."""

Bytes = bytes | memoryview
Field = tuple[int, Bytes, Bytes]
"""Field number, content if length-delimited (else empty), and the raw bytes of the whole field."""


def prune(model: bytes, outputs: Iterable[str]) -> bytes:
    """Reduces a model to some outputs, and to the nodes, weights and inputs that they need.

    Raises:
        ValueError: the file is malformed.
    """
    # A view avoids copying large weights.
    return b"".join(
        _tagged(number, _pruned(content, set(outputs))) if number == _GRAPH else whole
        for number, content, whole in _fields(memoryview(model))
    )


def _pruned(graph: Bytes, outputs: set[str]) -> bytes:
    fields = list(_fields(graph))
    needed = set(outputs)
    kept: set[int] = set()
    # The format requires topological order, so one pass backwards suffices.
    for index in reversed(range(len(fields))):
        number, node, _ = fields[index]
        if number == _NODE and needed.intersection(_names(node, _NODE_OUTPUT)):
            kept.add(index)
            needed |= _needs(node)

    def stays(index: int) -> bool:
        number, content, _ = fields[index]
        if number == _NODE:
            return index in kept
        if number not in _NAME:
            return True
        return bool((outputs if number == _OUTPUT else needed).intersection(_names(content, _NAME[number])))

    return b"".join(whole for index, (_, _, whole) in enumerate(fields) if stays(index))


def _needs(node: Bytes) -> set[str]:
    """The names that a node reads, including outer names read by its subgraphs."""
    names = set(_names(node, _NODE_INPUT))
    for number, attribute, _ in _fields(node):
        if number == _ATTRIBUTE:
            for which, graph, _ in _fields(attribute):
                if which in _SUBGRAPHS:
                    names |= set(_names(graph, _OUTPUT, _NAME[_OUTPUT]))
                    for kind, inner, _ in _fields(graph):
                        names |= _needs(inner) if kind == _NODE else set()
    return names


def _names(message: Bytes, *path: int) -> list[str]:
    """The strings in a field of a message, or along a path of nested fields."""
    found = [content for number, content, _ in _fields(message) if number == path[0]]
    if len(path) > 1:
        return [name for inner in found for name in _names(inner, *path[1:])]
    return [bytes(content).decode() for content in found]


def _fields(message: Bytes) -> Iterator[Field]:
    at = 0
    while at < len(message):
        start = at
        tag, at = _number(message, at)
        length = 0
        match tag & 7:
            case 0:
                _, at = _number(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _number(message, at)
                at += length
            case 5:
                at += 4
            case kind:
                raise ValueError(f"a field of unknown wire type {kind}")
        if at > len(message):
            raise ValueError("a field runs past the end")
        yield tag >> 3, message[at - length : at] if length else b"", message[start:at]


def _number(message: Bytes, at: int) -> tuple[int, int]:
    """Decodes a varint (seven bits per byte, lowest first); returns it and its end."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("an unterminated varint")


def _tagged(number: int, content: bytes) -> bytes:
    """Encodes a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
