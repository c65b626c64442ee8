"""A part of an ONNX model: what some of its outputs need, and nothing else.

onnxruntime computes the whole graph, whichever outputs are asked for. The package onnx could take it apart, but is
large, and needed for nothing else here; so this reads just as much of the format (Protocol Buffers; `onnx.proto`) as it
takes to leave nodes out.
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
"""Field with the name of what is in such a field of a graph."""

Bytes = bytes | memoryview
Field = tuple[int, Bytes, Bytes]
"""Its number, its content where that has a length (else nothing), and all of it as it stands."""


def prune(model: bytes, outputs: Iterable[str]) -> bytes:
    """A model that has only these outputs, and of nodes, weights and inputs only what they need.

    Raises:
        ValueError: it is not as the format says.
    """
    # A view, as the weights may be large.
    return b"".join(
        _tagged(number, _pruned(content, set(outputs))) if number == _GRAPH else whole
        for number, content, whole in _fields(memoryview(model))
    )


def _pruned(graph: Bytes, outputs: set[str]) -> bytes:
    fields = list(_fields(graph))
    needed = set(outputs)
    kept: set[int] = set()
    # The format wants nodes in such an order that each comes after those that it needs.
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
    """The names that a node reads, those that the graphs within it read from outside among them."""
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
    """The texts in a field of a message, or in a field of the messages in it."""
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
                raise ValueError(f"a field of the unknown kind {kind}")
        if at > len(message):
            raise ValueError("a field beyond the end")
        yield tag >> 3, message[at - length : at] if length else b"", message[start:at]


def _number(message: Bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")


def _tagged(number: int, content: bytes) -> bytes:
    """A field of some length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))
