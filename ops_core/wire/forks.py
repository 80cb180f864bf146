"""Forks as JSON: which steps of a finished task are taken over, and what is different from there on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from ops_core.services.forks import ForkRequest, ModelChange
from ops_core.wire.tasks import REQUEST

FORK_EXAMPLE: dict[str, Any] = {"from_step": 3, "instructions": "Answer in one sentence."}


class ModelChangeIn(BaseModel):
    """Another model. With another provider, nothing of the agent's own choice is kept."""

    model_config = REQUEST

    provider: StrictStr | None = None
    name: StrictStr | None = None


class ForkIn(BaseModel):
    """What a fork takes over, and what is different."""

    model_config = ConfigDict(
        **REQUEST,
        json_schema_extra={
            "examples": [{"from_step": 2, "model": {"provider": "demo"}, "input": {"goal": "…"}}, FORK_EXAMPLE]
        },
    )

    from_step: StrictInt = Field(description="Steps before this one are taken over; 1 takes over none.")
    instructions: StrictStr | None = Field(default=None, description="Left out: the same.")
    model: ModelChangeIn | None = Field(default=None, description="Left out: the same.")
    input: dict[str, Any] | None = Field(default=None, description="Left out: the same.")
    idempotency_key: StrictStr | None = Field(
        default=None, description="The same key with the same request gives the first fork again. Also as a header."
    )

    def to_request(self, *, idempotency_key: str | None = None, traceparent: str | None = None) -> ForkRequest:
        model = None if self.model is None else ModelChange(provider=self.model.provider, name=self.model.name)
        return ForkRequest(
            before_step=self.from_step,
            instructions=self.instructions,
            model=model,
            input=self.input,
            idempotency_key=idempotency_key if self.idempotency_key is None else self.idempotency_key,
            traceparent=traceparent,
        )
