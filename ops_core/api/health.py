"""Probes over HTTP: is the process alive, is it ready, and what is it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse

from ops_core import __version__
from ops_core.api.door import PREFIX, ApiConfig, ApiServices, DoorDep, reply
from ops_core.api.openapi import answers
from ops_core.errors import Unavailable
from ops_core.wire.info import INFO_EXAMPLE, InfoOut

router = APIRouter(tags=["system"])

_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    ok: bool
    detail: str
    #: Whether the process is unready without it.
    required: bool

    def __str__(self) -> str:
        note = "" if self.required else " (not required: tasks are kept, and rung when it is back)"
        return f"[+]{self.name} ok" if self.ok else f"[-]{self.name} failed: {self.detail}{note}"


def _probe_docs(example: str, failing: str | None) -> dict[int | str, dict[str, object]]:
    docs: dict[int | str, dict[str, object]] = {
        200: {"description": "It is.", "content": {"text/plain": {"example": example}}}
    }
    if failing is not None:
        docs[503] = {"description": "It is not.", "content": {"text/plain": {"example": failing}}}
    return docs


@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_class=PlainTextResponse, responses=_probe_docs("ok", None))
async def livez() -> Response:
    """Whether the process is alive: it answers."""
    return PlainTextResponse("ok")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_class=PlainTextResponse,
    responses=_probe_docs("[+]store ok\n[+]broker ok\nready", "[-]store failed: cannot be reached\nnot ready"),
)
async def readyz(request: Request, verbose: str | None = None) -> Response:
    """Whether it can take requests: the database is reachable and migrated. `?verbose` lists each check."""
    return await _readiness(request, verbose=verbose is not None)


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_class=PlainTextResponse, responses=_probe_docs("ok", "not ready"))
async def healthz(request: Request, verbose: str | None = None) -> Response:
    """The same as `/readyz`."""
    return await _readiness(request, verbose=verbose is not None)


@router.get(f"{PREFIX}/info", responses=answers(InfoOut, INFO_EXAMPLE, "What this installation is and can."))
async def info(door: DoorDep) -> Response:
    """Version, features and limits."""
    return reply(InfoOut.of(__version__, door.config.limits, max_body_bytes=door.config.max_body_bytes))


async def _readiness(request: Request, *, verbose: bool) -> Response:
    services: ApiServices = request.app.state.services
    config: ApiConfig = request.app.state.config
    found = await asyncio.gather(_check_store(services), _check_broker(services, config))
    checks = [check for check in found if check is not None]
    ready = all(check.ok for check in checks if check.required)
    lines = [str(check) for check in checks if verbose or (check.required and not check.ok)]
    lines.append(("ready" if verbose else "ok") if ready else "not ready")
    return PlainTextResponse("\n".join(lines), 200 if ready else 503)


async def _check_store(services: ApiServices) -> _Check:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            health = await services.health.store_health()
    except TimeoutError:
        return _Check("store", False, f"no answer within {_PROBE_SECONDS:g} s", required=True)
    except Unavailable as exc:
        return _Check("store", False, exc.title, required=True)
    if not health.reachable:
        return _Check("store", False, "the database cannot be reached", required=True)
    detail = "the schema is not the one this version wants: run `ops-core db upgrade`"
    return _Check("store", health.migrated, detail, required=True)


async def _check_broker(services: ApiServices, config: ApiConfig) -> _Check | None:
    if services.doorbell is None:
        return None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await services.doorbell.ready(config.probed_queue)
    except TimeoutError:
        return _Check("broker", False, f"no answer within {_PROBE_SECONDS:g} s", required=False)
    except Unavailable as exc:
        return _Check("broker", False, exc.title, required=False)
    return _Check("broker", True, "", required=False)
