"""Takes secrets out of text that a model, a journal or a log would otherwise keep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, quote_plus, urlsplit

from agentkit.transcript import JsonValue

REDACTED = "[redacted]"
#: A shorter value is likely to stand in any text by chance.
_SHORTEST = 8
_SECRET_NAMES = re.compile(
    r"(^|_)(API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|KEY|TOKEN|SECRET|PASS|PASSWD|PASSWORD|PASSPHRASE|CREDENTIALS?|COOKIE|DSN)(_|$)",
    re.IGNORECASE,
)
#: What a value of that kind may be without being one: a path, a switch, a number.
_HARMLESS = re.compile(r"(/[\w./-]*|[\d.]+|true|false|yes|no|on|off|none|null)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of secret that says what it is."""

    #: One of these stands in every text that has one: to look for them is a hundred times faster.
    markers: tuple[str, ...]
    pattern: re.Pattern[str]
    replaced_by: str = REDACTED

    def taken_out_of(self, text: str) -> str:
        if not any(marker in text for marker in self.markers):
            return text
        return self.pattern.sub(self.replaced_by, text)


def _key(pattern: str, *markers: str) -> _Shape:
    # Only where a word begins: `task-…` is no key, and a text that repeats a beginning is looked at once.
    return _Shape(markers, re.compile(rf"(?<![A-Za-z0-9_-]){pattern}"))


@cache
def _shapes() -> tuple[_Shape, ...]:
    """As published by those who issue them; see also GitHub's and Yelp's secret scanners."""
    # Compiled on first use: most scripts never call a tool that could tell a secret.
    return (
        _key(r"sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}", "sk-"),  # OpenAI, Anthropic, OpenRouter
        _key(r"gh[pousr]_[A-Za-z0-9]{36,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        _key(r"github_pat_[A-Za-z0-9_]{22,}", "github_pat_"),
        _key(r"glpat-[A-Za-z0-9_-]{20,}", "glpat-"),
        _key(r"xox[abeoprs]-[A-Za-z0-9-]{10,}", "xox"),  # Slack
        _key(r"(?:AKIA|ASIA)[A-Z0-9]{16}", "AKIA", "ASIA"),  # AWS
        _key(r"AIza[A-Za-z0-9_-]{35}", "AIza"),  # Google
        _key(r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", "k_live_", "k_test_"),  # Stripe
        _key(r"whsec_[A-Za-z0-9+/=]{16,}", "whsec_"),
        _key(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", "eyJ"),  # JSON Web Token
        _Shape(
            ("PRIVATE KEY-----",),
            re.compile(
                r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:(?!-----)[\s\S]){1,20000}"
                r"-----END [A-Z ]{0,30}PRIVATE KEY-----"
            ),
        ),
        # The password in `scheme://user:password@host`.
        _Shape(("://",), re.compile(r"(?<=://)([^\s/:@]{0,200}):[^\s/@]{1,200}@"), rf"\1:{REDACTED}@"),
    )


class Redactor:
    """Knows some secrets by their value, and others by their shape."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets` shorter than 8 characters are passed over: they would redact ordinary text."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        # The longest first: one may begin with another.
        self._known = sorted(forms, key=lambda form: (-len(form), form))

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] | None = None, *, also: Iterable[str] = ()) -> Redactor:
        """With the values of variables whose name says that they are secret, and passwords in the URLs of others."""
        env = os.environ if environ is None else environ
        return cls([*_secrets_in(env), *also])

    def text(self, text: str) -> str:
        """The text, each secret replaced."""
        for known in self._known:
            text = text.replace(known, REDACTED)
        for shape in _shapes():
            text = shape.taken_out_of(text)
        return text

    def value(self, value: JsonValue) -> JsonValue:
        """A JSON value, each secret in its texts and keys replaced."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self.value(each) for key, each in value.items()}
            case list():
                return [self.value(each) for each in value]
            case _:
                return value


@cache
def environment_redactor() -> Redactor:
    """That of this process's environment as it is when this is first called."""
    return Redactor.of_environment()


def _secrets_in(environ: Mapping[str, str]) -> Iterable[str]:
    for name, value in environ.items():
        if _SECRET_NAMES.search(name) and not _HARMLESS.fullmatch(value):
            yield value.strip()
        elif "://" in value and (password := _password_of(value)):
            yield password


def _password_of(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _forms(secret: str) -> Iterable[str]:
    """As it stands, and as it stands in a URL, in a form, or in JSON."""
    return secret, quote(secret, safe=""), quote_plus(secret), secret.replace("\\", "\\\\").replace('"', '\\"')
