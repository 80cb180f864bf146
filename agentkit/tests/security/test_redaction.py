"""Which secrets are taken out of a text, and what is left alone."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.security.redaction import REDACTED, Redactor

SECRET = 'hunter2 "and" more/+='
#: Put together here, so that no scanner takes this file for a leak.
KEYS = (
    "sk-" + "proj-" + "a1B2" * 8,
    "sk-" + "ant-" + "api03-" + "Zz9_" * 8,
    "gh" + "p_" + "a1B2c3" * 6,
    "github" + "_pat_" + "a1B2" * 8,
    "xox" + "b-123456789012-abcdefghij",
    "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "AI" + "za" + "a1B2c" * 7,
    "sk_" + "live_" + "a1B2" * 5,
    "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + ".c2lnbmF0dXJl",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\nabc\n-----END RSA " + "PRIVATE KEY-----",
)


def test_a_known_secret_is_taken_out_wherever_it_stands() -> None:
    assert Redactor([SECRET]).text(f"a{SECRET}b {SECRET}") == f"a{REDACTED}b {REDACTED}"


@pytest.mark.parametrize("form", [quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]], ids=["in a URL", "in JSON"])
def test_a_known_secret_is_found_in_other_writings_too(form: str) -> None:
    assert Redactor([SECRET]).text(f"<{form}>") == f"<{REDACTED}>"


def test_a_secret_that_begins_with_another_is_taken_out_whole() -> None:
    assert Redactor(["longsecret", "longsecret-longer"]).text("longsecret-longer") == REDACTED


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:8])
def test_a_key_is_known_by_its_shape(key: str) -> None:
    assert Redactor().text(f"key={key};") == f"key={REDACTED};"


@pytest.mark.parametrize(
    "url", ["postgresql://ops:hunter2@db:5432/x", "amqp://:hunter2@mq/", "see https://a:hunter2@b"]
)
def test_the_password_of_a_url_is_taken_out_and_the_rest_stays(url: str) -> None:
    redacted = Redactor().text(url)

    assert "hunter2" not in redacted
    assert redacted == url.replace("hunter2", REDACTED)


@pytest.mark.parametrize(
    "text",
    [
        "The sky is blue.",
        "ask-me-anything-about-this-long-hyphenated-thing",
        "https://example.com:8080/path?a=b@c",
        "mail@example.com",
        "sk-short",
        "commit 8afe389f3c1b2d4e5f60718293a4b5c6d7e8f901",
        "00000000-0000-7000-8000-000000000000",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor([""]).text(text) == text


def test_secrets_of_the_environment_are_those_whose_name_says_so() -> None:
    redactor = Redactor.of_environment(
        {
            "OPENAI_API_KEY": "value-of-the-key",
            "MY_PASSWORD": "correct horse battery",
            "DATABASE_URL": "postgresql://ops:p4ssw0rd-of-db@db/x",
            "HOME": "/home/somebody",
            "EDITOR": "value-of-the-editor",
            "SSH_KEY_PATH_TOKEN": "/etc/ssl/private.pem",
            "TOKEN_LIMIT": "100000000",
            "USE_TOKEN": "true",
            "PIN_TOKEN": "1234",
        },
        also=["given besides"],
    )

    kept = "/home/somebody value-of-the-editor /etc/ssl/private.pem 100000000 true 1234"
    assert redactor.text(kept) == kept
    for secret in ("value-of-the-key", "correct horse battery", "p4ssw0rd-of-db", "given besides"):
        assert redactor.text(secret) == REDACTED


def test_a_json_value_is_redacted_through_and_through() -> None:
    given_value = {"a": [SECRET, {"b": f"x {SECRET}"}], SECRET: 1, "n": None, "f": 1.5}

    assert Redactor([SECRET]).value(given_value) == {
        "a": [REDACTED, {"b": f"x {REDACTED}"}],
        REDACTED: 1,
        "n": None,
        "f": 1.5,
    }


@given(st.text(min_size=8, max_size=40), st.text(), st.text())
def test_no_known_secret_is_left_in_any_text(secret: str, before: str, after: str) -> None:
    redacted = Redactor([secret]).text(before + secret + after)

    assert secret not in redacted or secret in REDACTED


@pytest.mark.parametrize(
    "text", ["sk-" * 50_000, "eyJ" * 50_000, "://" * 50_000, "-----BEGIN PRIVATE KEY-----" * 5_000]
)
@pytest.mark.timeout(20)
def test_a_hostile_text_takes_no_time_to_speak_of(text: str) -> None:
    Redactor([SECRET]).text(text)
