"""Arithmetic and numbers in plain English, as the demo model reads them."""

from __future__ import annotations

import re

_WORDS: tuple[tuple[str, str], ...] = (
    (r"(?<=\d),(?=\d{3}\b)", ""),
    (r"×|(?<=\d)\s*x\s*(?=\d)", " * "),
    ("÷", "/"),
    ("[−–]", "-"),
    (r"\b(?:multiplied by|times)\b", " * "),
    (r"\b(?:divided by)\b", " / "),
    (r"\bplus\b", " + "),
    (r"\bminus\b", " - "),
    (r"\b(?:modulo|mod)\b", " % "),
    (r"\b(?:raised )?to the power of\b", " ** "),
    (r"\bsquared\b", " ** 2"),
    (r"\bcubed\b", " ** 3"),
    (r"(?<=\d)\s*(?:%|percent|per cent) of\b", " / 100 * "),
    (r"\b(?:the )?square root of\s+(\d+(?:\.\d+)?)", r"sqrt(\1)"),
)
_ARITHMETIC = re.compile(r"(?:\b(?:sqrt|round|min|max|abs)\(|[\d.,+\-*/%^() ])+")
_OPERATION = re.compile(r"[\d)]\s*(?:\*\*|//|[-+*/%^])\s*[\d(a-z+-]|[a-z]\(")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}/\d{1,2}/\d{2,4}")
_MONEY = re.compile(r"(?:[$€£]\s*(\d[\d,]*(?:\.\d+)?))|(\d[\d,]*(?:\.\d+)?)\s*(?:[$€£]|EUR|USD|GBP|CHF)", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def expression_in(text: str) -> str | None:
    """The longest piece of arithmetic in the text, in the calculator's notation; None when there is none."""
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    found = [" ".join(match.group().strip(" ,").rstrip(".").split()) for match in _ARITHMETIC.finditer(text)]
    found = [each for each in found if _OPERATION.search(each) and not _DATE.fullmatch(each)]
    return max(found, key=len, default=None)


def money_in(text: str) -> str | None:
    """The first amount of money in the text, without its currency; None when there is none."""
    found = _MONEY.search(text)
    return (found.group(1) or found.group(2)).replace(",", "") if found else None


def number_in(text: str) -> str | None:
    """The first number in the text; None when there is none."""
    found = _NUMBER.search(text)
    return found.group().replace(",", "") if found else None
