"""Generated parts of the documentation."""

from __future__ import annotations

import importlib.util
import re
from enum import Enum
from pathlib import Path
from types import ModuleType

import pytest

from ops_core.tests.docs.pages import ROOT, SITE


def load_generator() -> ModuleType:
    """The script as a module; its folder is no package."""
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_as_the_code_says() -> None:
    stale = [str(page.relative_to(ROOT)) for page, _ in load_generator().stale_pages()]
    assert not stale, "run: python scripts/generate_docs.py"


def test_every_generated_part_has_a_place() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in SITE.rglob("*.md"))
    assert set(re.findall(r"<!-- generated: ([a-z-]+) -->", text)) == set(load_generator().PARTS)


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("<!-- generated: statuses -->\nyesterday\n<!-- end -->\n", encoding="utf-8")
    [(page, fresh)] = load_generator().stale_pages(tmp_path)
    assert page.name == "page.md"
    assert "`queued`" in fresh
    assert "yesterday" not in fresh


def test_a_member_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Bare\.one needs a `#:` comment"):
        load_generator().member_comments(Bare)


class Bare(Enum):
    one = "one"
