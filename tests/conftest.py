"""Tests leave the player's own settings, presets and sessions alone."""

from __future__ import annotations

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="rtgen-tests-")
for _name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_MUSIC_DIR"):
    os.environ[_name] = _HOME
