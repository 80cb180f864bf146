"""What every vendor's client promises when no usable answer comes, through the real SDK against a real port."""

from __future__ import annotations

import gzip
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agentkit.errors import (
    BadCredentials,
    ConfigurationError,
    ContextTooLong,
    LlmError,
    LlmRequestInvalid,
    LlmTimeout,
    LlmUnavailable,
    MalformedReply,
    RateLimited,
    Refused,
)
from agentkit.llm.base import BaseLlmClient
from agentkit.tests.llm.http_server import Reply, json_reply
from agentkit.tests.llm.script import Blank, Fail, Fault, Refuse, Step
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import RETRYABLE_FAULTS, VENDORS, Vendor
from agentkit.transcript import UserMessage


async def error_of(client: BaseLlmClient, *, timeout_seconds: float = 20, text: str = "Hi") -> LlmError:
    with pytest.raises(LlmError) as caught:
        await client.complete([UserMessage(text)], timeout_seconds=timeout_seconds)
    return caught.value


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.keyed], ids=str)
async def test_a_wrong_key_is_bad_credentials_and_never_shown(vendor: Vendor, server: VendorServer) -> None:
    client = vendor.client(server, api_key="sk-wrong-secret")

    error = await error_of(client)

    assert type(error) is BadCredentials
    assert not error.retryable
    assert "sk-wrong-secret" not in f"{error}{error!r}{client!r}"
    await client.aclose()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_the_vendor_repeats_is_cut_out(
    client: BaseLlmClient, server: VendorServer, vendor: Vendor, status: int
) -> None:
    body = {"error": {"message": f"key {server.key} is not allowed", "status": "PERMISSION_DENIED"}}
    server.then(json_reply(body, status))

    error = await error_of(client)

    assert type(error) is BadCredentials
    if vendor.keyed:
        assert "[key]" in str(error)
        assert server.key not in "".join(traceback.format_exception(error))


async def test_an_account_without_credit_is_not_worth_a_retry(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Fail(Fault.no_credit))

    error = await error_of(client)

    assert type(error) is BadCredentials
    assert "cannot pay" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9e99"}, 86_400.0),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait_if_the_vendor_does(
    client: BaseLlmClient, server: VendorServer, headers: dict[str, str], seconds: float | None
) -> None:
    server.then(Fail(Fault.rate_limited, "slow down", headers))

    error = await error_of(client)

    assert isinstance(error, RateLimited)
    assert error.retryable
    assert error.retry_after_seconds == seconds
    assert server.received == 1


async def test_a_rate_limit_may_end_at_a_date(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(
        Fail(Fault.rate_limited, headers={"retry-after": format_datetime(datetime.now(UTC) + timedelta(minutes=5))})
    )

    error = await error_of(client)

    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds is not None
    assert 240 < error.retry_after_seconds <= 300


async def test_a_conversation_too_long_is_told_apart(
    client: BaseLlmClient, vendor: Vendor, server: VendorServer
) -> None:
    server.then(Fail(Fault.too_long, vendor.too_long))

    error = await error_of(client)

    assert type(error) is ContextTooLong
    assert not error.retryable


async def test_a_body_too_large_is_a_conversation_too_long(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(413, b"<html>Request Entity Too Large</html>", "text/html"))

    assert type(await error_of(client)) is ContextTooLong


async def test_declining_to_answer_is_an_error_of_its_own(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Refuse())

    error = await error_of(client)

    assert type(error) is Refused
    assert not error.retryable


@pytest.mark.parametrize("fault", [Fault.bad_request, Fault.unknown_model])
async def test_a_request_the_vendor_calls_wrong_repeats_its_words(
    client: BaseLlmClient, server: VendorServer, fault: Fault
) -> None:
    server.then(Fail(fault, "there is no such thing"))

    error = await error_of(client)

    assert type(error) is LlmRequestInvalid
    assert "there is no such thing" in str(error)


async def test_a_redirect_is_a_wrong_base_url(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(301, b"", headers={"location": "/elsewhere"}))

    error = await error_of(client)

    assert type(error) is LlmRequestInvalid
    assert "base URL" in str(error)
    assert server.received == 1


@pytest.mark.parametrize("fault", RETRYABLE_FAULTS)
async def test_a_failing_vendor_is_unavailable_and_asked_once(
    client: BaseLlmClient, server: VendorServer, fault: Fault
) -> None:
    server.then(Fail(fault, headers={"retry-after": "0"}))

    error = await error_of(client)

    assert type(error) is LlmUnavailable
    assert error.retryable
    assert error.retry_after_seconds == 0.0
    assert server.received == 1


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"\xff\xfe\x00", b"[]", b'"no"', b'{"error": 1}'])
@pytest.mark.parametrize("status", [502, 599])
async def test_an_error_page_in_any_shape_is_still_unavailable(
    client: BaseLlmClient, server: VendorServer, status: int, body: bytes
) -> None:
    server.then(Reply(status, body))

    assert type(await error_of(client)) is LlmUnavailable


async def test_a_long_error_page_is_cut(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(400, b"x" * 1_000_000, "text/plain"))

    assert len(str(await error_of(client))) < 1000


async def test_a_refused_connection_is_unavailable(vendor: Vendor, server: VendorServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = vendor.client(server, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")

        assert type(await error_of(client)) is LlmUnavailable
    await client.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b'{"id": "1", "choices": [', cut_after=5),
        Reply(body=b'{"id": "1"}', cut_after=0),
        Reply(500, body=b'{"error": {}}', cut_after=5),
        Reply(body=gzip.compress(b"{}")[:-6] + b"damage", headers={"content-encoding": "gzip"}),
    ],
    ids=["mid-body", "before-body", "mid-error", "damaged"],
)
async def test_a_connection_that_breaks_is_unavailable(
    client: BaseLlmClient, server: VendorServer, reply: Reply
) -> None:
    server.then(reply)

    assert type(await error_of(client)) is LlmUnavailable


async def test_silence_is_a_timeout(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(hang=True))

    error = await error_of(client, timeout_seconds=0.2)

    assert type(error) is LlmTimeout
    assert error.retryable
    assert "0.2 s" in str(error)


async def test_an_answer_that_trickles_for_ever_is_bounded(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(body=b" " * 65_536, endless=True))

    error = await error_of(client, timeout_seconds=60)

    assert type(error) is MalformedReply
    assert "longer than" in str(error)


async def test_the_time_limit_holds_while_bytes_still_arrive(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(body=b" ", endless=True))

    assert type(await error_of(client, timeout_seconds=0.3)) is LlmTimeout


@pytest.mark.parametrize(
    "step",
    [
        Reply(body=b"<html><body>Welcome!</body></html>", content_type="text/html"),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body=b""),
        Reply(body=b"[]"),
        Reply(body=b"null"),
        Reply(body=b"{}"),
        Reply(body=b"\xff\xfe"),
        Reply(body=b'{"choices": "x", "content": "x", "candidates": "x"}'),
        Reply(body=b'{"choices": [{}], "content": [{"type": "text"}], "candidates": [{"content": {"parts": [1]}}]}'),
        Reply(
            body=b'{"choices": [{"message": {"tool_calls": [{"function": {}}]}}], '
            b'"content": [{"type": "tool_use", "id": 1}], '
            b'"candidates": [{"content": {"parts": [{"functionCall": {"args": []}}]}}]}'
        ),
        Reply(
            body=b'{"choices": [{"message": {"content": "x", "reasoning_details": [NaN]}}], '
            b'"content": [{"type": "text", "text": "x", "more": NaN}], '
            b'"candidates": [{"content": {"parts": [{"text": "x", "more": NaN}]}}]}'
        ),
    ],
    ids=["html", "truncated", "empty", "list", "null", "object", "bytes", "text", "hollow", "hollow-call", "nan"],
)
async def test_rubbish_with_status_200_is_a_malformed_reply(
    client: BaseLlmClient, server: VendorServer, step: Step
) -> None:
    server.then(step)

    error = await error_of(client)

    assert type(error) is MalformedReply
    assert error.retryable


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name != "anthropic"], ids=str)  # it has no choices
async def test_an_answer_without_choices_is_no_answer(vendor: Vendor, server: VendorServer) -> None:
    server.then(Blank())
    client = vendor.client(server)

    assert type(await error_of(client)) is MalformedReply
    await client.aclose()


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name != "gemini"], ids=str)  # Google's SDK writes ASCII
async def test_text_that_is_not_unicode_is_our_fault_and_not_sent(
    client: BaseLlmClient, vendor: Vendor, server: VendorServer
) -> None:
    assert type(await error_of(client, text="\ud800")) is LlmRequestInvalid
    assert server.received == 0


@pytest.mark.parametrize("key", ["", "  \n", "sk-a b", "sk-a\nb", "sk-ключ"])
def test_a_key_that_no_header_can_carry_is_a_configuration_error(vendor: Vendor, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        vendor.make("m", **(vendor.options | {"api_key": key}))
    assert not key.strip() or key not in str(caught.value)


async def test_a_key_pasted_with_its_line_break_works(vendor: Vendor, server: VendorServer) -> None:
    client = vendor.client(server, api_key=f"{server.key}\n")

    assert (await client.complete([UserMessage("Hi")], timeout_seconds=20)).message.text == "Hello"
    await client.aclose()


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://host", "/v1", "", "http://", "http://[::1"])
def test_a_base_url_that_is_none_is_a_configuration_error(vendor: Vendor, url: str) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        vendor.make("m", **({"api_key": "sk-1"} | vendor.options | {"base_url": url}))


def test_a_missing_package_says_what_to_install(vendor: Vendor, hidden: Callable[[str], None]) -> None:
    hidden(vendor.package)

    with pytest.raises(ConfigurationError, match=r"pip install 'opspawn\[(openai|anthropic|gemini)\]'"):
        vendor.make("m", **({"api_key": "sk-1", "base_url": "http://host"} | vendor.options))


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package impossible to import, as if it were not installed."""

    def hide(package: str) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        if package == "google.genai":
            # `from google import genai` looks at the attribute before it imports.
            import google

            monkeypatch.delattr(google, "genai", raising=False)

    return hide
