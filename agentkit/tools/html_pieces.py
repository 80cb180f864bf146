"""Takes HTML apart into texts and tags, in time proportional to its size, whatever somebody wrote into it.

Not the standard library's parser, which takes hours for a page of two megabytes made for the purpose, nor a parser in
C, which a deeply nested page can crash: the page is a stranger's.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

#: Where markup begins; any other `<` is text.
_MARKUP = re.compile(r"<(?=[a-zA-Z/!?])")
#: A tag, to its very end when no attribute has a value.
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)([^>=]*>)?")
#: The end of a tag, or an attribute's value in quotes, in which a `>` does not end it.
_TAG_END = re.compile(r"=\s*([\"'])|>")
_ATTRIBUTE = re.compile(r"""(?:^|[\s"'/])(href|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
#: Their content is no markup, up to their own end tag.
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "textarea", "title", "xmp")
}


class Tag(NamedTuple):
    """A tag, with what stands up to its end tag when that is no markup."""

    name: str
    is_end: bool
    attributes: str = ""
    content: str = ""

    def attribute(self, name: str) -> str:
        """The value of `href` or `alt`; empty without one."""
        for found in _ATTRIBUTE.finditer(self.attributes):
            if found[1].lower() == name:
                return unescaped(found[2] or found[3] or found[4] or "").strip()
        return ""


def pieces(page: str) -> Iterator[str | Tag]:
    """Texts and tags in turn. What never ends (a comment, a tag, a quoted value) ends the page."""
    position = 0
    while (found := _MARKUP.search(page, position)) is not None:
        begin = found.start()
        if begin > position:
            yield page[position:begin]
        if (tag := _TAG.match(page, begin)) is not None:
            end = tag.end() if tag[3] else _tag_end(page, tag.end())
            if end is None:
                return
            name, is_end = tag[2].lower(), bool(tag[1])
            position = end if is_end or name not in _RAW else _raw_end(name, page, end)
            yield Tag(name, is_end, page[tag.end(2) : end - 1], page[end:position])
        elif (past := _past_comment(page, begin)) is not None:
            position = past
        else:
            return
    yield page[position:]


def unescaped(text: str) -> str:
    """The text with its character references (`&amp;`) replaced."""
    if "&" not in text:
        return text
    try:
        return html.unescape(text)
    except ValueError:
        # A character whose number has thousands of digits.
        return text


def _tag_end(page: str, position: int) -> int | None:
    """Where the page goes on after the tag; None when it never ends."""
    while (found := _TAG_END.search(page, position)) is not None:
        if found[1] is None:
            return found.end()
        close = page.find(found[1], found.end())
        if close < 0:
            return None
        position = close + 1
    return None


def _raw_end(name: str, page: str, position: int) -> int:
    close = _RAW[name].search(page, position)
    return len(page) if close is None else close.start()


def _past_comment(page: str, begin: int) -> int | None:
    """Where the page goes on after a comment, a declaration or an end tag without a name; None when it never ends."""
    end = "-->" if page.startswith("<!--", begin) else ">"
    close = page.find(end, begin + 2)
    return None if close < 0 else close + len(end)
