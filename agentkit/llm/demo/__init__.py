"""The demo model: built in, no key, no network; for first runs, examples and tests."""

from agentkit.llm.demo.client import DemoLlm

__all__ = ["DemoLlm"]
