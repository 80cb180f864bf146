from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from ops_core.telemetry import configure_logging, get_logger, log_fields

HOSTILE = "/\x1b[31mred\x07\x9b2J"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_what_strangers_send_cannot_move_the_cursor_of_who_reads_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json_lines=False)
    get_logger().info("request.served", path=HOSTILE)
    logging.getLogger("somebody").warning("heard %s", HOSTILE)
    said = capsys.readouterr().err
    assert said.count("\\x1b[31mred\\x07") == 2
    assert "\x1b[31mred" not in said
    assert "\x9b" not in said


def test_a_json_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", json_lines=True)
    get_logger().info("request.served", path="a\nb" + HOSTILE)
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["path"] == "a\nb" + HOSTILE


def test_a_line_has_the_fields_that_it_is_logged_in_and_none_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="info", json_lines=True)
    with structlog.contextvars.bound_contextvars(trace_id="of the request"), log_fields(task_id="t", trace_id=None):
        with log_fields(task_id="u", epoch=2):
            get_logger().info("inside")
            logging.getLogger("somebody").warning("of a library")
        get_logger().info("between")
    get_logger().info("outside")
    inside, library, between, outside = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (inside["task_id"], inside["epoch"], inside["trace_id"]) == ("u", 2, "of the request")
    assert (library["task_id"], library["epoch"]) == ("u", 2)
    assert between["task_id"] == "t"
    assert "epoch" not in between
    assert "task_id" not in outside
