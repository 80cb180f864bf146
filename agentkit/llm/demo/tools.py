"""How the demo model finds a tool for what it wants to do: by the names and schemas it is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject

#: The name under which the demo MCP server is usually configured.
_DEMO_SERVER = "demo"


@dataclass(frozen=True, slots=True)
class DemoCall:
    """A tool call the demo model wants to make."""

    tool: str
    arguments: JsonObject


class OfferedTools:
    """The tools of one prompt. Each method gives the call for a purpose, or None when no tool serves it."""

    def __init__(self, specs: Sequence[ToolSpec]) -> None:
        self._specs = specs

    def calculate(self, expression: str) -> DemoCall | None:
        return self._call({"expression": expression})

    def time_now(self, zone: str) -> DemoCall | None:
        return self._call({"timezone": zone})

    def convert_time(self, time: str, source: str, target: str) -> DemoCall | None:
        return self._call({"timezone": target, "time": time, "from_timezone": source}) or self._call(
            {"source_timezone": source, "time": time, "target_timezone": target}
        )

    def convert_units(self, value: float, source: str, target: str) -> DemoCall | None:
        return self._call({"value": value, "from_unit": source, "to_unit": target})

    def search(self, query: str) -> DemoCall | None:
        return self._call({"query": query}, last_names=("search",)) or self._by_proxy("search", {"query": query})

    def read(self, name: str) -> DemoCall | None:
        return self._call({"name": name}, last_names=("read",)) or self._by_proxy("read", {"name": name})

    def refund(self, amount: float, currency: str, customer: str) -> DemoCall | None:
        return self._call({"amount": amount, "currency": currency, "customer": customer}, last_names=("refund",))

    def ask(self, question: str) -> DemoCall | None:
        return self._call({"question": question}, last_names=("ask_person",))

    def sleep(self, seconds: float) -> DemoCall | None:
        return self._call({"seconds": seconds}, last_names=("sleep",))

    def wait_for_signal(self, name: str) -> DemoCall | None:
        return self._call({"name": name}, last_names=("wait_for_signal",))

    def give_to(self, agent: str, goal: str) -> DemoCall | None:
        return self._call({"goal": goal}, last_names=(agent,))

    def _call(self, arguments: JsonObject, *, last_names: tuple[str, ...] = ()) -> DemoCall | None:
        """The first tool that has all of these parameters and requires no other."""
        for spec in self._specs:
            last_name = spec.name.rpartition(".")[2]
            known = spec.parameters.get("properties", {}).keys()
            required = set(spec.parameters.get("required", ()))
            if required <= arguments.keys() <= known and (not last_names or last_name in last_names):
                return DemoCall(spec.name, arguments)
        return None

    def _by_proxy(self, tool: str, arguments: JsonObject) -> DemoCall | None:
        """Through a tool that reaches any MCP server by name."""
        return self._call({"server": _DEMO_SERVER, "tool": tool, "arguments": arguments})
