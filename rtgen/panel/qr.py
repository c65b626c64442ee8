"""QR codes of short texts, to be shown in a terminal (ISO/IEC 18004: byte mode, level L, versions 1 to 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_DATA = (19, 34, 55, 80, 108)
"""Bytes of data by version; these versions have one block."""
_CHECK = (7, 10, 15, 20, 26)
"""Bytes of error correction by version."""
MOST = _DATA[-1] - 2
"""Longest text, in bytes of UTF-8."""
_QUIET = 4
Square = list[list[int]]
"""Rows of modules: 1 is dark."""


def code(text: str, mask: int | None = None) -> Square:
    """Returns the smallest code of a text, without its quiet zone.

    Args:
        text: up to `MOST` bytes of UTF-8.
        mask: 0 to 7; by default the one that the standard's penalties prefer.

    Raises:
        ValueError: the text is too long.
    """
    data = text.encode()
    if len(data) > MOST:
        raise ValueError(f"{len(data)} bytes do not fit into a code; {MOST} are the most")
    version = next(v for v, room in enumerate(_DATA) if len(data) <= room - 2)
    bits = f"0100{len(data):08b}" + "".join(f"{byte:08b}" for byte in data) + "0000"
    words = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    words += ([0xEC, 0x11] * _DATA[version])[: _DATA[version] - len(words)]
    words += _remainder(words, _CHECK[version])
    drawn = [_drawn(words, 21 + 4 * version, m) for m in (range(8) if mask is None else (mask,))]
    return min(drawn, key=_penalty)


def lines(square: Square) -> Iterator[str]:
    """Yields the lines of a code with its quiet zone, two rows in each; to be shown dark on light."""
    wide = len(square) + 2 * _QUIET
    rows = [[0] * _QUIET + row + [0] * _QUIET for row in square]
    blank = [[0] * wide] * _QUIET
    rows = [*blank, *rows, *blank, [0] * wide]
    for upper, lower in zip(rows[:-1:2], rows[1::2], strict=True):
        yield "".join(" ▄▀█"[2 * up + low] for up, low in zip(upper, lower, strict=True))


def _product(a: int, b: int) -> int:
    """Multiplies in GF(256), modulo x^8 + x^4 + x^3 + x^2 + 1."""
    found = 0
    for bit in range(7, -1, -1):
        found = (found << 1) ^ (found >> 7) * 0x11D ^ (b >> bit & 1) * a
    return found


def _remainder(words: list[int], count: int) -> list[int]:
    """Returns the Reed-Solomon check words."""
    generator, root = [0] * (count - 1) + [1], 1  # without its leading 1, the highest power first
    for _ in range(count):
        generator = [_product(g, root) ^ after for g, after in zip(generator, [*generator[1:], 0], strict=True)]
        root = _product(root, 2)
    left = [0] * count
    for word in words:
        factor = word ^ left[0]
        left = [each ^ _product(g, factor) for each, g in zip([*left[1:], 0], generator, strict=True)]
    return left


def _drawn(words: list[int], size: int, mask: int) -> Square:
    fixed: dict[tuple[int, int], int] = {(6, at): 1 - at % 2 for at in range(size)}
    fixed |= {(at, 6): 1 - at % 2 for at in range(size)}
    centres = [(3, 3, 4), (size - 4, 3, 4), (3, size - 4, 4)] + [(size - 7, size - 7, 2)] * (size > 21)
    for cx, cy, reach in centres:
        for x in range(max(cx - reach, 0), min(cx + reach + 1, size)):
            for y in range(max(cy - reach, 0), min(cy + reach + 1, size)):
                fixed[x, y] = int(max(abs(x - cx), abs(y - cy)) not in ((2, 4) if reach == 4 else (1,)))
    form = rest = 0b01000 | mask  # level L
    for _ in range(10):
        rest = (rest << 1) ^ (rest >> 9) * 0x537
    form = (form << 10 | rest) ^ 0x5412
    down = [*range(6), 7, 8]
    places = [*((8, y) for y in down), (7, 8), *((x, 8) for x in range(5, -1, -1))]
    others = [*((size - 1 - i, 8) for i in range(8)), *((8, size - 7 + i) for i in range(7))]
    for bit, (here, there) in enumerate(zip(places, others, strict=True)):
        fixed[here] = fixed[there] = form >> bit & 1
    fixed[8, size - 8] = 1
    square = [[fixed.get((x, y), 0) for x in range(size)] for y in range(size)]
    stream = iter("".join(f"{word:08b}" for word in words))
    for right in (*range(size - 1, 6, -2), 5, 3, 1):
        upward = (right + 1) & 2 == 0
        for y in range(size - 1, -1, -1) if upward else range(size):
            for x in (right, right - 1):
                if (x, y) not in fixed:
                    square[y][x] = int(next(stream, "0")) ^ _is_turned(mask, x, y)
    return square


def _is_turned(mask: int, x: int, y: int) -> bool:
    a, b = x * y % 2, x * y % 3
    return ((x + y) % 2, y % 2, x % 3, (x + y) % 3, (x // 3 + y // 2) % 2, a + b, (a + b) % 2, (x + y + b) % 2)[
        mask
    ] == 0


def _penalty(square: Square) -> int:
    size = len(square)
    total = 10 * int(abs(20 * sum(map(sum, square)) / size**2 - 10))
    for line in (*square, *zip(*square, strict=True)):
        text = "".join(map(str, line))
        total += sum(len(run[0]) - 2 for run in re.finditer("0{5,}|1{5,}", text))
        total += 40 * len(re.findall("(?=10111010000|00001011101)", text))
    blocks = (square[y][x : x + 2] + square[y + 1][x : x + 2] for y in range(size - 1) for x in range(size - 1))
    return total + 3 * sum(sum(block) in (0, 4) for block in blocks)
