"""Reads small YAML settings files, which are untrusted, and reports every error as a readable sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from rtgen.errors import UserError
from rtgen.whole import contents

_MAX_BYTES = 256 * 1024
_MAX_VALUES = 5000
"""Most values in a file; PyYAML takes about half a second for them."""
_SHOWN = 40
"""Longest name that a message repeats."""


class _Plain(yaml.SafeLoader):
    """Reads what settings need of YAML, so that no file takes long to read or means what nobody meant.

    Numbers are decimal and of bounded length: YAML 1.1 also has hexadecimal, octal and base-60 numbers and dates, which
    `3:4` or `0x1F` would be. There are no anchors, aliases, tags and merge keys. A key is a word, and appears once: the
    first of two would be ignored, and lost when the file is rewritten.
    """

    _values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a value.

        Raises:
            ValueError: it is or has an alias, or there are too many values.
            yaml.YAMLError: it has a tag.
        """
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ValueError(f"line {line} has an anchor or alias (& or *), which settings do not have")
        if event.tag not in (None, "!"):
            raise yaml.constructor.ConstructorError(None, None, "a tag", event.start_mark)
        self._values += 1
        if self._values > _MAX_VALUES:
            raise ValueError(f"there are more than {_MAX_VALUES} values")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping.

        Raises:
            ValueError: a key appears twice, or is not a single word.
        """
        names: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line} has a list in place of a name")
            if key.value in names:
                raise ValueError(f"{key.value[:_SHOWN]} appears twice, the second time at line {line}")
            names.add(key.value)
        return super().construct_mapping(node, deep)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:  # noqa: ARG001
    text = node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
    return int(text) if _INT.match(text) else float(text)


# Nothing that PyYAML, which writes the settings, takes for text: it leaves that without quotes.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})$")
_FLOAT = re.compile(
    r"(?:[-+]?(?:[0-9]{1,30}\.[0-9]{0,30}(?:[eE][-+][0-9]{1,3})?|\.(?:inf|Inf|INF))"
    r"|\.[0-9]{1,30}(?:[eE][-+][0-9]{1,3})?|\.(?:nan|NaN|NAN))$"
)
_BOOL = re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_Plain.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", _BOOL, list("yYnNtTfFoO")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
for _tag in ("int", "float"):
    _Plain.add_constructor(f"tag:yaml.org,2002:{_tag}", _number)


def read(path: Path, what: str, cure: str = "correct the file") -> dict[str, Any]:
    """Read the `setting: value` lines of a file.

    Args:
        path: of the file.
        what: name of the file in error messages.
        cure: remedy given for invalid contents.

    Raises:
        UserError: the file cannot be read, is too large, or is not a mapping.
    """
    try:
        data = contents(path, _MAX_BYTES)
        if data is None:
            raise UserError(f"{what} is larger than {_MAX_BYTES >> 10} KB; it should be a few lines of YAML")
        said = yaml.load(data.decode("utf-8-sig"), _Plain)
    except OSError as error:
        raise UserError(f"{what} cannot be read ({error.strerror}); check its path and permissions") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UserError(f"{what} is not valid YAML{line}; {cure}") from error
    except ValueError as error:
        raise UserError(f"{what}: {error}; {cure}") from error
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise UserError(f"{what} is not a list of 'setting: value' lines; {cure}")
    return said
