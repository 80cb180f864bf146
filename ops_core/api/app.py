"""The HTTP door as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from starlette.middleware import Middleware

from ops_core import __version__
from ops_core.api import agents, approvals, docs_page, error_pages, events, health, queues, schedules, signals, tasks
from ops_core.api.door import ApiConfig, ApiServices
from ops_core.api.errors import install_error_handlers
from ops_core.api.gate import Gate
from ops_core.api.long_wait import Draining
from ops_core.api.openapi import describe
from ops_core.api.request_scope import RequestScope

_DESCRIPTION = """AI agents as durable background tasks.

Errors are problem details (RFC 9457): match on `code`. Times are RFC 3339 in UTC, durations are seconds.
"""


def make_app(
    services: ApiServices,
    config: ApiConfig,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """The application. Call `app.state.draining.begin()` before it stops, so that open streams end."""
    app = FastAPI(
        title="Opspawn Core",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's pages of documentation load their scripts from another host.
        docs_url=None,
        redoc_url=None,
        telemetry={"operation_spans": False},
        middleware=[
            Middleware(RequestScope),
            Middleware(
                Gate,
                keys=config.keys,
                allowed_hosts=config.allowed_hosts,
                max_requests=config.max_requests,
            ),
        ],
    )
    app.state.services, app.state.config, app.state.draining = services, config, Draining()
    install_error_handlers(app)
    for module in (tasks, signals, events, approvals, schedules, queues, agents, health, docs_page, error_pages):
        # As they are, not by include_router: it would look for a request's route twice, first in a router of routers.
        app.routes.extend(module.router.routes)
    describe(app)
    return app
