"""array_literal: the text PostgreSQL reads back as the same values."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from ops_core.storage.postgres.arrays import array_literal


def test_each_kind_of_value_has_its_form() -> None:
    values = [None, 1, 1.5, True, False, UUID(int=1), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)]
    assert array_literal(values) == "{NULL,1,1.5,t,f,00000000000000000000000000000001,2026-01-02T03:04:05.000006+00:00}"


def test_text_is_quoted_so_that_no_sign_has_a_meaning() -> None:
    assert array_literal(['a"b', "a\\b", "NULL", "", "a,{b}"]) == '{"a\\"b","a\\\\b","NULL","","a,{b}"}'
