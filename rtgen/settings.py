"""Small YAML files that people write: untrusted, and read with sentences for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rtgen.errors import UserError

_MAX_BYTES = 256 * 1024


class _Once(yaml.SafeLoader):
    """Takes nothing that is said twice: the first would be passed over, and gone when the file is written again."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As usual, or a `ValueError`."""
        names: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in names:
                raise ValueError(f"{key.value} is there twice, the second time at line {key.start_mark.line + 1}")
            names.add(str(key.value))
        return super().construct_mapping(node, deep)


def read(path: Path, what: str, cure: str = "mend the file") -> dict[str, Any]:
    """The lines `setting: value` of a file.

    Args:
        path: where it is.
        what: it is called in sentences.
        cure: for what is in it and cannot be.

    Raises:
        UserError: it cannot be read, is too large, or is no mapping.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{what} is larger than {_MAX_BYTES >> 10} KB; it is to be a few lines of YAML")
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
