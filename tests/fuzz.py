"""A fuzzer for parser and session, led by coverage (Atheris): `pip install --group fuzz`, then

    python -m tests.fuzz CORPUS -max_total_time=600

It ends with the bytes that broke a rule, if there are any; kept in `tests/instrument/test_machine.py` they are a test.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["rtgen.instrument", "rtgen.music"]):
    from tests.instrument.gestures import Story, read


def one_input(data: bytes) -> None:
    """The first byte chooses the clock and the offset, the rest is a story."""
    if data:
        read(Story(data[0] % 2, (0, 30, -30)[data[0] // 2 % 3]), data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
