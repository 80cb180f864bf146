"""The operations of an HTTP API, as its OpenAPI document describes them, as tools."""

from agentkit.tools.openapi.operations import Operation, SkippedOperation
from agentkit.tools.openapi.tools import OpenApiTools

__all__ = ["OpenApiTools", "Operation", "SkippedOperation"]
