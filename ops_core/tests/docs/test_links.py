"""Links and navigation of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops_core.tests.docs.pages import ROOT, SITE, anchors, links, navigation, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [target for target in links(page) if not _leads_somewhere(page, target)]
    assert not broken


@pytest.mark.parametrize("page", sorted(SITE.rglob("*.md")), ids=lambda page: str(page.relative_to(SITE)))
def test_the_site_links_only_to_itself(page: Path) -> None:
    outside = [
        target
        for target in links(page)
        if not target.startswith(("https://", "#")) and SITE not in _file_of(page, target).parents
    ]
    assert not outside, "a page of the site cannot link to a file that is not on it"


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(navigation()) == sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.md"))


def _leads_somewhere(page: Path, target: str) -> bool:
    if target.startswith("https://"):
        return True  # the network is not asked
    file, anchor = _file_of(page, target), target.partition("#")[2]
    return file.exists() and (not anchor or anchor in anchors(file))


def _file_of(page: Path, target: str) -> Path:
    path = target.partition("#")[0]
    return (page.parent / path).resolve() if path else page
