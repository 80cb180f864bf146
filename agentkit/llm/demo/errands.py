"""What the demo model has done for it rather than finds out: refunds, questions to people, waits, work for agents."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentkit.llm.demo.skills import Skill, called, failed
from agentkit.llm.demo.tools import DemoCall, OfferedTools

_REFUND = re.compile(
    r"^refund\s+(?P<amount>\d[\d,]*(?:\.\d+)?)\s*(?P<currency>[A-Z]{3})\s+to\s+(?P<customer>.+)", re.IGNORECASE
)
_ASK = re.compile(r"^ask\s+(?:a person|somebody|someone|the user|me)\b[,:]?\s+(?P<question>.+)", re.IGNORECASE)
_SIGNAL = re.compile(r"^wait for (?:the |a )?signal\s+(?P<name>[\w.-]+)", re.IGNORECASE)
_PAUSE = re.compile(r"^(?:wait|sleep)\s+(?:for\s+)?(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>s|m|h|d)", re.IGNORECASE)
_AGENT = re.compile(
    r"^(?:have|let|ask|tell)\s+the\s+agent\s+(?P<agent>[a-z0-9_-]+)[,:]?\s+(?:to\s+)?(?P<goal>.+)", re.IGNORECASE
)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def errands_in(part: str, tools: OfferedTools) -> Iterator[Skill]:
    """The errand that this part of a goal is, if it is one."""
    if match := _REFUND.search(part):
        amount = float(match["amount"].replace(",", ""))
        call = tools.refund(
            int(amount) if amount.is_integer() else amount, match["currency"].upper(), match["customer"]
        )
        yield _errand(call, "a tool that refunds", "refund it")
    elif match := _ASK.search(part):
        question = match["question"][:1].upper() + match["question"][1:] + "?"
        yield _errand(tools.ask(question), "a way to ask a person", "get an answer")
    elif match := _SIGNAL.search(part):
        yield _errand(tools.wait_for_signal(match["name"]), "a way to wait for a signal", "wait for it")
    elif match := _PAUSE.search(part):
        seconds = float(match["count"]) * _SECONDS[match["unit"].lower()]
        yield _errand(tools.sleep(seconds), "a way to wait", "wait")
    elif match := _AGENT.search(part):
        call = tools.give_to(match["agent"], match["goal"])
        yield _errand(call, f"the agent {match['agent']}", f"have {match['agent']} do it")


def _errand(call: DemoCall | None, what: str, doing: str) -> Skill:
    seen = yield from called(call, what)
    return failed(doing, seen) if seen.is_error else seen.content
