"""Tests leave the player's own settings, presets and sessions alone, and know whether the machine stood still."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, settings

from tests.busy import (
    pytest_report_header,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

__all__ = [
    "pytest_report_header",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]

# How long an example takes says more about what else the machine does than about rtgen.
settings.register_profile("rtgen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rtgen")

_HOME = tempfile.mkdtemp(prefix="rtgen-tests-")
for _name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_MUSIC_DIR"):
    os.environ[_name] = _HOME
