"""Reads small YAML settings files, which are untrusted, and reports every error as a readable sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rtgen.errors import UserError

_MAX_BYTES = 256 * 1024


class _Once(yaml.SafeLoader):
    """Rejects duplicate keys: the first would be ignored, and lost when the file is rewritten."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping.

        Raises:
            ValueError: a key appears twice.
        """
        names: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in names:
                raise ValueError(f"{key.value} appears twice, the second time at line {key.start_mark.line + 1}")
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


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
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{what} is larger than {_MAX_BYTES >> 10} KB; it should be a few lines of YAML")
        said = yaml.load(path.read_text("utf-8"), _Once)
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
