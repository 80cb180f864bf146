"""How the demo model finds its place in a conversation: the goal, what was observed since, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.llm.demo.goals import parts_of, skills_for
from agentkit.llm.demo.protocol import observations_in
from agentkit.llm.demo.skills import Observation, Skill, ToolNotOffered
from agentkit.llm.demo.tools import DemoCall, OfferedTools
from agentkit.transcript import Message, ToolMessage, UserMessage

_SELF_DESCRIPTION = (
    "I am the demo model that is built in for first runs and tests, not a real language model. I can do arithmetic "
    "(What is 6 * 7?), tell and convert times (What time is it in Tokyo?), convert units (Convert 5 miles to km), "
    "look things up in the demo handbook (Look up the refund policy), refund (Refund 80 EUR to Ada), ask (Ask a person "
    "which colour), wait (Wait 5 seconds; Wait for the signal paid) and pass work on (Have the agent writer …), each "
    "with a tool that I am offered. "
    "For anything else, set up a real model."
)
#: For a part that is beyond the demo model.
_NOTHING_TO_DO: tuple[None] = (None,)


@dataclass(frozen=True, slots=True)
class Turn:
    """What the demo model says next, and the calls it wants to make; without calls it is the answer."""

    text: str
    calls: tuple[DemoCall, ...]


def rounds_after_goal(messages: Sequence[Message], tools: OfferedTools) -> tuple[str, list[list[Observation]]]:
    """The goal, and the observations since it was set, one list for each answer of the model that made calls."""
    at, goal = _newest_goal(messages, tools)
    return goal, [seen for message in messages[at + 1 :] if (seen := _observed(message))]


def next_turn(
    goal: str, rounds: Sequence[Sequence[Observation]], tools: OfferedTools, *, calls_at_once: int | None
) -> Turn:
    """Work on every part of the goal at the same time: replay what was observed, then say what comes next."""
    parts = [_Part(text, skill) for text in parts_of(goal) for skill in skills_for(text, tools) or _NOTHING_TO_DO]
    if all(part.skill is None for part in parts):
        return Turn(_beyond(goal), ())
    for part in parts:
        part.start()
    for seen in rounds:
        for part, observation in zip(_waiting(parts, calls_at_once), seen, strict=False):
            part.observe(observation)
    calls = tuple(part.call for part in _waiting(parts, calls_at_once) if part.call is not None)
    if calls:
        return Turn(f"I will use {' and '.join(dict.fromkeys(call.tool for call in calls))}.", calls)
    return Turn("\n".join(part.answer for part in parts), ())


class _Part:
    """One part of a goal in progress: it waits for the result of a call, or has its answer."""

    def __init__(self, text: str, skill: Skill | None) -> None:
        self.skill = skill
        self.call: DemoCall | None = None
        self.answer = f"“{text}” is beyond me: I am only a demo model."

    def start(self) -> None:
        if self.skill is not None:
            self._step(None)

    def observe(self, seen: Observation) -> None:
        self._step(seen)

    def _step(self, seen: Observation | None) -> None:
        assert self.skill is not None
        try:
            self.call = next(self.skill) if seen is None else self.skill.send(seen)
        except StopIteration as done:
            self.call, self.answer = None, done.value
        except ToolNotOffered as missing:
            self.call, self.answer = None, f"For this I need {missing}, and I was not offered one."


def _waiting(parts: Sequence[_Part], calls_at_once: int | None) -> list[_Part]:
    return [part for part in parts if part.call is not None][:calls_at_once]


def _newest_goal(messages: Sequence[Message], tools: OfferedTools) -> tuple[int, str]:
    """The newest thing the user said that the demo model understands, else the first thing the user said.

    Corrections by the loop are user messages too, and nothing the demo model understands.
    """
    said = [(i, m.text) for i, m in enumerate(messages) if isinstance(m, UserMessage) and not _observed(m)]
    understood = ((i, text) for i, text in reversed(said) if _understood(text, tools))
    return next(understood, said[0] if said else (-1, ""))


def _understood(text: str, tools: OfferedTools) -> bool:
    return any(skills_for(part, tools) for part in parts_of(text))


def _observed(message: Message) -> list[Observation]:
    match message:
        case ToolMessage(results):
            return [Observation(each.content, each.is_error) for each in results]
        case UserMessage(text):
            return observations_in(text)
        case _:
            return []


def _beyond(goal: str) -> str:
    return f"{_SELF_DESCRIPTION}\nYour goal was: “{goal[:200]}”"
