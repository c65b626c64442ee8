"""README.md and docs/*.md: generated parts are up to date, links lead somewhere, named modules exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtgen import __version__
from train import pages
from train.pages import ROOT, cards

PAGES = pages.pages()
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_a_page_is_not_stale(page: Path) -> None:
    text = page.read_text("utf-8")
    assert pages.filled(text) == text, "run 'python -m train.pages'"
    assert text.count("\n<!-- begin ") == len(pages.names(text)), "a part has no end"


def test_every_part_is_on_a_page() -> None:
    assert {name for page in PAGES for name in pages.names(page.read_text("utf-8"))} == set(pages.PARTS)


def test_check_names_a_stale_page_and_leaves_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    page, fresh = tmp_path / "README.md", tmp_path / "docs" / "fresh.md"
    page.write_text("a\n<!-- begin counts -->\n9 models\n<!-- end counts -->\nb\n", "utf-8")
    fresh.write_text("nothing\n", "utf-8")
    was = page.read_text("utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setitem(pages.PARTS, "counts", lambda: "4 models")
    checked = CliRunner().invoke(pages.app, ["--check"])
    assert (checked.exit_code, checked.output.split()) == (1, ["stale:", "README.md"])
    assert page.read_text("utf-8") == was
    assert CliRunner().invoke(pages.app, []).exit_code == 0
    assert page.read_text("utf-8") == was.replace("9", "4")
    assert CliRunner().invoke(pages.app, ["--check"]).exit_code == 0


@each_page
def test_links_and_images_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@each_page
def test_modules_that_a_page_names_exist(page: Path) -> None:
    for words in CODE.findall(prose(page)):
        if path := re.fullmatch(r"[a-z\d_/]+\.py", words):
            assert (ROOT / path[0]).is_file() or (ROOT / "rtgen" / path[0]).is_file(), words
        for module in re.findall(r"python -m ((?:rtgen|train|tests)[\w.]*)", words):
            folder = ROOT.joinpath(*module.split("."))
            assert folder.with_suffix(".py").is_file() or (folder / "__main__.py").is_file(), words


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 160


def test_the_readme_credits_every_set_that_a_shipped_model_learned_from() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert cards()
    for card in cards():
        assert card.data, card.name
        for data in card.data:
            assert data.credit, f"{card.name}: {data.name} has no credit"
            assert data.credit in readme, data.name
            assert f"[{data.licence}]" in readme, data.name


def test_pages_name_the_wheel_of_this_version() -> None:
    pages = [page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")]
    assert {version for page in pages for version in re.findall(r"rtgen-(\d[\d.]*)-py3", page)} == {__version__}
