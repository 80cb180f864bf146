"""The readable text of an HTML page, its headings, lists, tables, code and links marked as in Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from agentkit.tools.html_pieces import Tag, pieces, unescaped

_BLANKS = re.compile(r"[ \t\r\n\f]+")
_MANY_LINES = re.compile(r"\n{3,}")

#: Never read by a person.
_SKIPPED = frozenset({"canvas", "iframe", "noscript", "select", "svg", "template"})
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
#: Line breaks before and after an element: two make a paragraph.
_BREAKS = {
    **dict.fromkeys(("address", "article", "aside", "blockquote", "body", "details", "dialog", "dl", "fieldset"), 2),
    **dict.fromkeys(("figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre", "section"), 2),
    **dict.fromkeys(("table", "ul", *_HEADINGS), 2),
    **dict.fromkeys(("br", "dd", "div", "dt", "figcaption", "legend", "li", "option", "summary", "tr"), 1),
}
#: Deeper lists are not indented further, or their indentation would outgrow the page.
_INDENTED = 6
#: Characters that a link's target may have, and those of all of them together: each repeats the page's own address.
_LINK_LENGTH = 500
_LINKS_LENGTH = 200_000


@dataclass(frozen=True, slots=True)
class HtmlText:
    """What a person would read."""

    title: str
    text: str


def html_text(page: str, *, base_url: str) -> HtmlText:
    """The text of the page; its links are made absolute from `base_url`."""
    writer = _Writer(base_url)
    for piece in pieces(page):
        if isinstance(piece, str):
            writer.text(piece)
        elif piece.is_end:
            writer.end(piece.name)
        else:
            writer.start(piece)
    return writer.finished()


class _Writer:
    """Puts the text together as the tags go by. Nothing is known of nesting but what is counted here."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._out: list[str] = []
        self._title = ""
        #: Line breaks owed before the next text; none at the beginning of a page.
        self._breaks = 0
        self._blank_owed = False
        self._lists = 0
        self._preformatted = 0
        #: The element whose content is passed over, and how often it was opened within itself.
        self._skipped = ("", 0)
        #: Where the link's text begins in the output, and where it leads.
        self._link: tuple[int, str] | None = None
        self._links_left = _LINKS_LENGTH

    def text(self, raw: str) -> None:
        if self._skipped[1]:
            return
        text = unescaped(raw)
        if self._preformatted:
            self._write(text)
            return
        words = _BLANKS.sub(" ", text)
        if words == " ":
            self._blank_owed = True
            return
        self._blank_owed |= words.startswith(" ")
        self._write(words.strip(" "))
        self._blank_owed = words.endswith(" ")

    def start(self, tag: Tag) -> None:
        name = tag.name
        if self._skipped[1] or name in _SKIPPED:
            if self._skipped[0] in ("", name) and not tag.attributes.endswith("/"):
                self._skipped = (name, self._skipped[1] + 1)
            return
        self._break_before(name)
        if name == "title" and not self._title:
            self._title = _BLANKS.sub(" ", unescaped(tag.content)).strip()
        elif name in ("textarea", "xmp"):
            self.text(tag.content)
        elif name in _HEADINGS:
            self._write(_HEADINGS[name])
        elif name in ("ul", "ol"):
            self._lists += 1
        elif name == "li":
            self._write("  " * min(max(self._lists - 1, 0), _INDENTED) + "- ")
        elif name in ("td", "th"):
            self._blank_owed = True
            self._write("| ")
        elif name == "hr":
            self._write("---")
            self._break_before(name)
        elif name == "pre":
            self._write("```\n")
            self._preformatted += 1
        elif name == "img" and (alt := tag.attribute("alt")):
            self.text(f" [image: {alt}] ")
        elif name == "a":
            self._end_link()
            self._begin_link(tag.attribute("href"))

    def end(self, name: str) -> None:
        if self._skipped[1]:
            if name == self._skipped[0]:
                left = self._skipped[1] - 1
                self._skipped = (name if left else "", left)
            return
        if name == "a":
            self._end_link()
        elif name in ("ul", "ol"):
            self._lists = max(0, self._lists - 1)
        elif name == "pre" and self._preformatted:
            self._preformatted -= 1
            self._write("\n```")
        self._break_before(name)

    def finished(self) -> HtmlText:
        self._end_link()
        lines = (line.rstrip() for line in "".join(self._out).split("\n"))
        return HtmlText(self._title, _MANY_LINES.sub("\n\n", "\n".join(lines)).strip("\n"))

    def _break_before(self, name: str) -> None:
        if (breaks := _BREAKS.get(name, 0)) and self._out:
            # A list within a list is no new paragraph.
            self._breaks = max(self._breaks, 1 if self._lists and name in ("ul", "ol") else breaks)

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._breaks:
            self._out.append("\n" * self._breaks)
        elif self._blank_owed and self._out and not self._out[-1].endswith((" ", "\n")):
            self._out.append(" ")
        self._breaks, self._blank_owed = 0, False
        self._out.append(text)

    def _begin_link(self, href: str) -> None:
        if self._links_left <= 0 or not (target := _absolute(self._base_url, href)):
            return
        self._links_left -= len(target)
        self._link = (len(self._out), target)

    def _end_link(self) -> None:
        if self._link is None:
            return
        begin, target = self._link
        self._link = None
        # The pieces before the first word are the blanks and line breaks owed when the link began.
        words = next((i for i in range(begin, len(self._out)) if self._out[i].strip()), None)
        if words is not None:
            self._out[words] = "[" + self._out[words]
            self._out.append(f"]({target})")


def _absolute(base_url: str, href: str) -> str:
    """Where the link leads; empty for what leads nowhere else, or nowhere that can be fetched."""
    if not href or href.startswith("#") or len(href) > _LINK_LENGTH:
        return ""
    try:
        target = urljoin(base_url, href)
    except ValueError:
        return ""
    return target if target.startswith(("http://", "https://", "mailto:")) and len(target) <= _LINK_LENGTH else ""
