"""Pieces of text that were lost, doubled or shuffled on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ops_core.domain.text import LiveText, TextDelta


def piece(offset: int, text: str, *, step_key: str = "1/llm", epoch: int = 1) -> TextDelta:
    return TextDelta(step_key=step_key, epoch=epoch, offset=offset, text=text)


def told(live: LiveText, *pieces: TextDelta) -> list[tuple[int, str]]:
    return [(new.offset, new.text) for new in live.add(pieces)]


def test_pieces_in_order_are_told_as_they_are() -> None:
    live = LiveText()

    assert told(live, piece(0, "ab"), piece(2, "c")) == [(0, "ab"), (2, "c")]
    assert not live.has_gap


def test_a_piece_that_comes_twice_or_overlaps_is_told_once() -> None:
    live = LiveText()

    assert told(live, piece(0, "ab"), piece(0, "ab"), piece(1, "bc"), piece(0, "abcd")) == [
        (0, "ab"),
        (2, "c"),
        (3, "d"),
    ]


def test_it_lacks_what_it_has_still_to_be_given() -> None:
    live = LiveText()
    told(live, piece(0, "ab", epoch=2), piece(0, "x", step_key="2/llm", epoch=2))
    live.finish("2/llm")

    assert not live.lacks(piece(0, "ab", epoch=2))
    assert live.lacks(piece(0, "abc", epoch=2))
    assert live.lacks(piece(7, "h", epoch=2))
    assert live.lacks(piece(0, "a", epoch=3))
    assert live.lacks(piece(0, "", step_key="3/llm", epoch=2))
    assert not live.lacks(piece(0, "abc", epoch=1))
    assert not live.lacks(piece(0, "xy", step_key="2/llm", epoch=2))


def test_what_comes_after_a_gap_waits_until_the_gap_is_filled() -> None:
    live = LiveText()

    assert told(live, piece(0, "a"), piece(2, "c"), piece(3, "d")) == [(0, "a")]
    assert live.has_gap
    assert told(live, piece(0, "abc")) == [(1, "bc"), (3, "d")]
    assert not live.has_gap


def test_steps_are_told_apart() -> None:
    live = LiveText()

    told(live, piece(0, "a"))

    assert told(live, piece(0, "x", step_key="2/llm")) == [(0, "x")]


def test_a_later_claim_begins_the_text_anew_and_the_earlier_one_is_heard_no_more() -> None:
    live = LiveText()
    told(live, piece(0, "abc"), piece(5, "f"))

    assert told(live, piece(0, "xy", epoch=2), piece(3, "d")) == [(0, "xy")]
    assert not live.has_gap


def test_a_step_that_has_its_result_is_told_no_more_until_another_round_begins() -> None:
    live = LiveText()
    told(live, piece(0, "a"), piece(2, "c"))
    live.finish("1/llm")

    assert told(live, piece(1, "b")) == []
    assert not live.has_gap

    live.begin_anew()
    assert told(live, piece(0, "n", epoch=2)) == [(0, "n")]


def test_what_comes_too_early_is_bounded() -> None:
    live = LiveText()

    told(live, *(piece(offset, "x") for offset in range(1, 10_000)))

    assert told(live, piece(0, "y")) == [(0, "y"), *((offset, "x") for offset in range(1, 257))]


@given(st.data())
def test_whatever_the_bus_does_the_text_so_far_makes_it_whole(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8))
    whole = "".join(texts)
    pieces = [piece(len("".join(texts[:n])), text) for n, text in enumerate(texts)]
    sent = data.draw(st.lists(st.sampled_from(pieces), max_size=20))
    live = LiveText()

    new = [*live.add(sent), *live.add([piece(0, whole)])]

    assert "".join(one.text for one in new) == whole
    assert [one.offset for one in new] == [len("".join(n.text for n in new[:i])) for i in range(len(new))]
    assert not live.has_gap
