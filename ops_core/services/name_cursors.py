"""Opaque page cursors of lists that are in the order of names, each bound to its list and namespace."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from ops_core.errors import CursorMalformed, FieldProblem

_VERSION = 1
_MAX_CHARS = 1024


def encode_name_cursor(list_name: str, namespace: str, last_name: str) -> str:
    """The cursor of the page that follows this name."""
    body = {"v": _VERSION, "name": last_name, "sum": _checksum(list_name, namespace, last_name)}
    return base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_name_cursor(list_name: str, namespace: str, cursor: str) -> str:
    """The name that the page before ended with.

    Raises:
        CursorMalformed: it is none of ours, was changed, or belongs to another list or namespace.
    """
    if len(cursor) > _MAX_CHARS:
        raise _malformed()
    try:
        body = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        version, name, checksum = body["v"], body["name"], body["sum"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _malformed() from exc
    if version != _VERSION or not isinstance(name, str) or checksum != _checksum(list_name, namespace, name):
        raise _malformed()
    return name


def _checksum(list_name: str, namespace: str, name: str) -> str:
    """Finds accidents and mix-ups. It keeps no secret: what a page shows is decided by the caller's namespace."""
    return hashlib.sha256(json.dumps([list_name, namespace, name]).encode()).hexdigest()[:16]


def _malformed() -> CursorMalformed:
    detail = "must be the next_cursor of the page before; leave it out to begin anew"
    return CursorMalformed(f"The cursor {detail}.", problems=[FieldProblem("/cursor", detail)])
