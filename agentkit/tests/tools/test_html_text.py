"""What is read of an HTML page, whatever somebody wrote into it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.html_pieces import Tag, pieces
from agentkit.tools.html_text import html_text


def text_of(page: str) -> str:
    return html_text(page, base_url="https://example.com/docs/page").text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("plain", "plain"),
        ("<p>one<p>two", "one\n\ntwo"),
        ("<p>one</p>\n\n\n  <p>two</p>", "one\n\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("a <b>bold</b>, <i>c</i>", "a bold, c"),
        ("a\n   b\t c", "a b c"),
        ("one<br>two<BR/>three", "one\ntwo\nthree"),
        ("<h1>Title</h1>text<h3>Sub</h3>", "# Title\n\ntext\n\n### Sub"),
        ("<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
        ("<ul><li>a<ul><li>b</ul><li>c</ul>", "- a\n  - b\n- c"),
        ("<table><tr><th>a<th>b<tr><td>1</td><td>2</td></table>", "| a | b\n| 1 | 2"),
        ("<pre>  a\n    b <b>c</b></pre>d", "```\n  a\n    b c\n```\n\nd"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("Tom &amp; J&eacute;r&#244;me &lt;3 &nosuch;", "Tom & Jérôme <3 &nosuch;"),
        ("1 < 2 and a<b>c", "1 < 2 and ac"),
        ("a<!-- b > c -->d<!doctype x>e<?php f ?>g", "adeg"),
        ("a<script>if (a < b) { '</p>' }</script>b", "ab"),
        ("a<SCRIPT src=x>bad</Script >b<style>p{}</style>c", "abc"),
        ("a<noscript>b</noscript>c<svg><text>d</text></svg>e<svg/>f", "acef"),
        ("<template>a<template>b</template>c</template>d", "d"),
        ("<textarea><b>raw</b></textarea>", "<b>raw</b>"),
        ("<img src=x alt='A cat'>", "[image: A cat]"),
        ("<img src=x><img alt=''>", ""),
        ("a<x-custom>b</x-custom>", "ab"),
        ("a</>b</ p>c", "abc"),
        ("", ""),
    ],
)
def test_the_text_is_as_a_person_would_read_it(page: str, text: str) -> None:
    assert text_of(page) == text


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("<a href=/x>go</a>", "[go](https://example.com/x)"),
        ('<a class="b > c" href="y?a=1&amp;b=2">go</a>', "[go](https://example.com/docs/y?a=1&b=2)"),
        ("<A HREF='https://other.org'> go </A>", "[go](https://other.org)"),
        ("<a href=mailto:a@b.org>mail</a>", "[mail](mailto:a@b.org)"),
        ("see<a href=/x> this</a>, ok", "see [this](https://example.com/x), ok"),
        ("<p>a<p><a href=/x>b</a>", "a\n\n[b](https://example.com/x)"),
        ("<a href=/x>one<a href=/y>two</a>", "[one](https://example.com/x)[two](https://example.com/y)"),
        ("<a href=/x></a>empty", "empty"),
        ("<a href='#top'>up</a>", "up"),
        ("<a href='javascript:alert(1)'>run</a>", "run"),
        ("<a href='data:text/html,x'>data</a>", "data"),
        ("<a href='http://[bad'>bad</a>", "bad"),
        ("<a data-href=/no>none</a>", "none"),
        ("<a name=x>anchor</a>", "anchor"),
        (f"<a href=/{'x' * 600}>long</a>", "long"),
    ],
)
def test_a_link_is_kept_with_where_it_leads(link: str, text: str) -> None:
    assert text_of(link) == text


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title> A &amp;\n B </title>x", "A & B"),
        ("<title>a<b></title>", "a<b>"),
        ("x", ""),
        ("<title>never ends", "never ends"),
    ],
)
def test_the_title_is_found_and_is_no_part_of_the_text(page: str, title: str) -> None:
    found = html_text(page, base_url="")
    assert found.title == title
    assert found.text in ("", "x")


@pytest.mark.parametrize(
    "page", ["text<!-- never", "text<a href='never", "text<p never", "text<!never", "text<script>never"]
)
def test_what_never_ends_ends_the_page(page: str) -> None:
    assert text_of(page) == "text"


HOSTILE = {
    "nested": "<div>" * 60_000,
    "nested lists": "<ul><li>" * 30_000,
    "tags that never end": "<a " * 100_000,
    "comments that never end": "<!--" * 75_000,
    "declarations that never end": "<![" * 100_000,
    "quotes that never end": "<a " + "x='" * 100_000,
    "one endless attribute": '<a x="' + " href='" * 40_000 + '">',
    "attributes without value": "<a " + "href  " * 50_000 + ">",
    "blanks before an equals sign": "<a href" + " " * 300_000 + "x>",
    "blanks after an equals sign": "<a " + ("href=" + " " * 100) * 3_000 + ">",
    "ampersands": "&" * 300_000,
    "angle brackets": "<" * 300_000,
    "end tags": "</x>" * 75_000,
    "scripts": "<script>" * 37_000,
    "blanks": " \n" * 150_000 + "<p>",
    "links that never end": "<a href=x>y" * 27_000,
    "digits": "&#" + "9" * 300_000 + ";",
}


@pytest.mark.parametrize("page", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_page_made_to_be_slow_is_read_in_time_and_does_not_grow(page: str) -> None:
    started = time.process_time()
    found = html_text(page, base_url="https://example.com/" + "a" * 400)
    # A parser whose time grows with the square of the page needs minutes for these.
    assert time.process_time() - started < 8
    assert len(found.text) < 4 * len(page) + 300_000


@given(st.text(alphabet="<>/!-?&#;='\" \nabchrefitlsp123", max_size=300))
def test_any_page_at_all_is_read(page: str) -> None:
    assert "\n\n\n" not in text_of(page).replace("```", "")


@given(st.text(max_size=100).filter(lambda text: "<" not in text))
def test_what_holds_no_markup_is_one_piece(text: str) -> None:
    assert list(pieces(text)) == [text]


def test_a_tag_knows_its_attributes_and_its_content() -> None:
    assert list(pieces("<script a=1>x<y</script>")) == [
        Tag("script", False, " a=1", "x<y"),
        Tag("script", True),
        "",
    ]
