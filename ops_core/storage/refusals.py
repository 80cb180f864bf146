"""Which refusals of a database no waiting mends: somebody has to correct the URL, the server or the file."""

from __future__ import annotations

import re

# PostgreSQL's errors of connecting have no code, only their text. A database or role that is missing counts too: a
# process that is told so at once can be started again when it is there.
_LASTING = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|authentication failed for user"
    r"|is not permitted to log in|server does not support SSL|certificate verify failed|permission denied"
    r"|invalid (?:connection option|URI query parameter)|(?:role|database) \".*\" does not exist"
    r"|file is not a database|unable to open database file|readonly database|not a directory|File exists",
    re.IGNORECASE,
)


def is_lasting(reason: str) -> bool:
    """Whether the reason that a database gave stays when one only waits."""
    return _LASTING.search(reason) is not None
