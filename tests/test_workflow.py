"""What runs elsewhere is read here: the workflow calls targets and folders that there are, and pins what it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
COMMANDS: list[str] = [step["run"] for step in STEPS if "run" in step]


def test_every_target_that_it_makes_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = {word for line in COMMANDS for words in re.findall(r"^make (.+)$", line) for word in words.split()}
    asked = {word for word in called if "=" not in word}
    assert asked
    assert asked <= targets


def test_every_folder_of_tests_that_it_names_is_there() -> None:
    named = {folder for line in COMMANDS for folder in re.findall(r"tests/[\w/]+", line)}
    assert named
    assert all((ROOT / folder).is_dir() for folder in named)


def test_actions_are_pinned_and_jobs_bounded() -> None:
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in STEPS if "uses" in step)
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in WORKFLOW["jobs"].values())
