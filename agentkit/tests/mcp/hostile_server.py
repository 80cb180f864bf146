"""An MCP server that misbehaves on request, in plain JSON lines: `hostile_server.py MODE PID_FILE`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

MODE, PID_FILE = sys.argv[1], sys.argv[2]
TOOLS = ["big", "crash", "echo", "environment", "error", "grow", "hang", "image", "meet", "refuse", "unserialised"]
waiting: list[Any] = []
lock = threading.Lock()


def main() -> None:
    note_pid(os.getpid())
    if MODE == "dies-at-start":
        sys.exit("no licence found")
    if MODE == "silent":
        time.sleep(1000)
    if MODE == "endless-line":
        while True:
            sys.stdout.write("x" * 1_000_000)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE == "grandchild":
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        note_pid(child.pid)
    if MODE == "noisy":
        write("Welcome to the server!\n{\n[1, 2\n\x00\xff")
        sys.stderr.write("a line on stderr\n" * 10_000)
    for line in sys.stdin:
        answer(json.loads(line))
    while MODE == "stubborn":
        time.sleep(1)


def answer(request: dict[str, Any]) -> None:
    match request:
        case {"method": "initialize"}:
            capabilities = {"tools": {"listChanged": True}}
            said = {"protocolVersion": "2025-06-18", "capabilities": capabilities}
            send(request, result={**said, "serverInfo": {"name": "hostile", "version": "1"}})
        case {"method": "tools/list"}:
            list_tools(request, (request.get("params") or {}).get("cursor"))
        case {"method": "tools/call", "params": params}:
            if MODE == "rubbish-answers":
                write("I would rather not")
            else:
                call(request, params["name"], params.get("arguments") or {})
        case {"id": _}:
            send(request, error={"code": -32601, "message": "no such method"})


def list_tools(request: dict[str, Any], cursor: str | None) -> None:
    page = int(cursor or 0)
    match MODE:
        case "many-tools":
            names = [f"tool-{page:03}-{place:02}" for place in range(50)]
            send(request, result={"tools": [described(name) for name in names], "nextCursor": str(page + 1)})
        case "no-schema":
            send(request, result={"tools": [described("echo"), {"name": "bare"}]})
        case "odd-schema":
            send(request, result={"tools": [described("echo"), {"name": "odd", "inputSchema": {"type": "string"}}]})
        case "paged":
            following = {"nextCursor": str(page + 1)} if page < 2 else {}
            send(request, result={"tools": [described(f"page-{page}")], **following})
        case _:
            send(request, result={"tools": [described(name) for name in TOOLS]})


def described(name: str) -> dict[str, Any]:
    hints = {"echo": {"readOnlyHint": True}, "meet": {"idempotentHint": True}}.get(name, {})
    return {"name": name, "description": "", "inputSchema": {"type": "object"}, "annotations": hints}


def call(request: dict[str, Any], tool: str, arguments: dict[str, Any]) -> None:
    match tool:
        case "echo":
            say(request, json.dumps({"arguments": arguments, "meta": request["params"].get("_meta", {})}))
        case "environment":
            say(request, json.dumps(dict(os.environ)))
        case "meet":
            # Answers only once so many calls wait at the same time.
            waiting.append(request)
            if len(waiting) >= arguments["calls"]:
                for each in waiting:
                    say(each, str(each["id"]))
                waiting.clear()
        case "hang":
            if arguments.get("for_good"):
                time.sleep(1000)
        case "big":
            say(request, "x" * arguments["characters"])
        case "crash":
            os._exit(7)
        case "grow":
            TOOLS.append("grown")
            emit({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            say(request, "one more tool")
        case "error":
            send(request, result={"content": [{"type": "text", "text": "the disk is full"}], "isError": True})
        case "refuse":
            send(request, error={"code": -32000 - 99, "message": "closed on Sundays"})
        case "unserialised":
            send(request, result={"content": "not a list of parts"})
        case "image":
            image = {"type": "image", "data": "AAAA" * 100, "mimeType": "image/png"}
            link = {"type": "resource_link", "name": "manual", "uri": "file:///manual.txt"}
            text = {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "hello"}}
            blob = {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAAA", "mimeType": "a/b"}}
            send(request, result={"content": [{"type": "text", "text": "look:"}, image, link, text, blob]})


def say(request: dict[str, Any], text: str) -> None:
    send(request, result={"content": [{"type": "text", "text": text}]})


def send(request: dict[str, Any], **said: Any) -> None:
    emit({"jsonrpc": "2.0", "id": request["id"], **said})


def emit(message: dict[str, Any]) -> None:
    with lock:
        write(json.dumps(message))


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def note_pid(pid: int) -> None:
    with open(PID_FILE, "a", encoding="utf-8") as file:
        file.write(f"{pid}\n")


main()
