"""`ops-core config show`: every setting with its value and where it came from."""

from __future__ import annotations

from dataclasses import asdict

from ops_core.cli.output import Output, OutputFormat, write_table, write_value
from ops_core.cli.terminal import say


def show(output: Output = OutputFormat.table) -> None:
    """Show each setting, its value with secrets masked, and its source."""
    from ops_core.settings import ClientSettings, Settings, load_settings, show_settings, unknown_variables

    shown = show_settings(load_settings(Settings))
    known = {one.variable for one in shown}
    shown += [one for one in show_settings(load_settings(ClientSettings)) if one.variable not in known]
    if output is OutputFormat.table:
        write_table(("VARIABLE", "VALUE", "SOURCE"), [(one.variable, one.value or "", one.source) for one in shown])
    else:
        write_value([asdict(one) for one in shown], output)
    for variable in unknown_variables():
        say(f"warning: {variable} is set and no setting reads it", style="yellow")
