from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from ops_core.telemetry import configure_logging, get_logger

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
