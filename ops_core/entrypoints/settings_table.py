"""The table of settings for the documentation: `python -m ops_core.entrypoints.settings_table` prints Markdown."""

from __future__ import annotations

import sys

from ops_core.settings import (
    FILE_FIELDS,
    PLATFORM_VARIABLES,
    ClientSettings,
    Settings,
    shown_value,
    variable_of,
)


def settings_table() -> str:
    """One row a variable: its default and what it is for, as the code has it."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    fields = {**ClientSettings.model_fields, **Settings.model_fields}
    ours = list(Settings.model_fields) + [name for name in fields if name not in Settings.model_fields]
    for name in ours:
        default = shown_value(fields[name].default)
        meaning = _cell(fields[name].description or "") + _also(name)
        rows.append(f"| `{variable_of(name)}` | {f'`{_cell(default)}`' if default else 'unset'} | {meaning} |")
    return "\n".join(rows) + "\n"


def _also(name: str) -> str:
    others = [f"`{variable_of(name)}_FILE`"] if name in FILE_FIELDS else []
    others += [f"`{other}`" for other in PLATFORM_VARIABLES.get(name, ())]
    return f" Also read from {', '.join(others)}." if others else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(settings_table())
