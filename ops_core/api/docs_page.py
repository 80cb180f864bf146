"""The API as one page of plain HTML, made from the OpenAPI document: no script, nothing from any other host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
details { border: 1px solid #8886; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { overflow-x: auto; background: #8881; padding: .6rem; border-radius: 6px }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 } h2 { text-transform: capitalize }
"""  # noqa: E501 - CSS


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Every operation with its parameters and examples."""
    return HTMLResponse(docs_page(request.app.openapi()))


def docs_page(document: dict[str, Any]) -> str:
    """The page for this OpenAPI document."""
    info = document["info"]
    models = document["components"]["schemas"]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append("".join(_operation(method, path, operation, models)))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(shown)}" for tag, shown in by_tag.items())
    title = escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>'
        f"<p>{escape(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>. A key, where the server has one, is sent as '
        f"<code>Authorization: Bearer …</code> or <code>X-API-Key: …</code>.</p>{sections}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], models: dict[str, Any]) -> Iterator[str]:
    name, summary = f"{method.upper()} {path}", operation.get("summary", "")
    yield f"<details><summary><code>{escape(name)}</code> {escape(summary)}</summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield _table("Parameter", [(one["name"], one, bool(one.get("required"))) for one in parameters])
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = _body_model(content["schema"], models)
        required = body.get("required", [])
        yield _table("Field", [(name, field, name in required) for name, field in body["properties"].items()])
        for example in body["examples"]:
            yield _example("Body, for example", {"example": example})
    for status, answer in operation["responses"].items():
        yield f"<p><code>{escape(status)}</code> {escape(answer['description'])}</p>"
        for media_type, content in answer.get("content", {}).items():
            yield _example(media_type, content)
    yield "</details>"


def _body_model(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """The model of a body, or of one that may be left out."""
    reference = schema.get("$ref") or next(one["$ref"] for one in schema["anyOf"] if "$ref" in one)
    model: dict[str, Any] = models[reference.rpartition("/")[2]]
    return model


def _table(heading: str, rows: list[tuple[str, dict[str, Any], bool]]) -> str:
    shown = "".join(
        f"<tr><td><code>{escape(name)}</code>{' (required)' if required else ''}"
        f"<td>{escape(what.get('in', ''))}<td>{escape(what.get('description', ''))}</tr>"
        for name, what, required in rows
    )
    return f"<table><tr><th>{heading}<th><th></tr>{shown}</table>"


def _example(title: str, content: dict[str, Any]) -> str:
    if "example" not in content:
        return ""
    example = content["example"]
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
