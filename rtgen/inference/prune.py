"""Extracts the part of an ONNX model that some outputs need.

onnxruntime computes the whole graph, whichever outputs are requested. The package onnx could extract a part, but it is
large and not needed otherwise; this module parses just enough of the format (`onnx.proto`) to drop nodes.
"""

from __future__ import annotations

from collections.abc import Iterable

from rtgen.inference.protobuf import Bytes, fields, tagged

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


def prune(model: bytes, outputs: Iterable[str]) -> bytes:
    """Reduces a model to some outputs, and to the nodes, weights and inputs that they need.

    Raises:
        ValueError: the file is malformed.
    """
    # A view avoids copying large weights.
    return b"".join(
        tagged(field, _pruned(content, set(outputs))) if field == _GRAPH else whole
        for field, content, whole in fields(memoryview(model))
    )


def _pruned(graph: Bytes, outputs: set[str]) -> bytes:
    parts = list(fields(graph))
    needed = set(outputs)
    kept: set[int] = set()
    # The format requires topological order, so one pass backwards suffices.
    for index in reversed(range(len(parts))):
        number, node, _ = parts[index]
        if number == _NODE and needed.intersection(_names(node, _NODE_OUTPUT)):
            kept.add(index)
            needed |= _needs(node)

    def stays(index: int) -> bool:
        number, content, _ = parts[index]
        if number == _NODE:
            return index in kept
        if number not in _NAME:
            return True
        return bool((outputs if number == _OUTPUT else needed).intersection(_names(content, _NAME[number])))

    return b"".join(whole for index, (_, _, whole) in enumerate(parts) if stays(index))


def _needs(node: Bytes) -> set[str]:
    """The names that a node reads, including outer names read by its subgraphs."""
    names: set[str] = set()
    nodes = [node]
    while nodes:
        inner = nodes.pop()
        names |= set(_names(inner, _NODE_INPUT))
        attributes = [attribute for number, attribute, _ in fields(inner) if number == _ATTRIBUTE]
        for attribute in attributes:
            for graph in (graph for which, graph, _ in fields(attribute) if which in _SUBGRAPHS):
                names |= set(_names(graph, _OUTPUT, _NAME[_OUTPUT]))
                nodes += [each for kind, each, _ in fields(graph) if kind == _NODE]
    return names


def _names(message: Bytes, *path: int) -> list[str]:
    """The strings in a field of a message, or along a path of nested fields."""
    found = [content for number, content, _ in fields(message) if number == path[0]]
    if len(path) > 1:
        return [name for inner in found for name in _names(inner, *path[1:])]
    return [bytes(content).decode() for content in found]
