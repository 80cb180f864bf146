"""Files for an agent to work with: a folder of its own for each run, that nothing leads out of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from agentkit.errors import ConfigurationError, ToolFailed
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.function import FunctionTool, tool
from agentkit.tools.registry import ToolRegistry
from agentkit.tools.workspace_folder import Entry, Quota, RunFolder
from agentkit.tools.workspace_paths import folder_name, folder_parts, path_parts
from agentkit.transcript import ToolCall, ToolResult

_ENTRIES_LISTED = 500
_MATCHES_LISTED = 100
_LINE_SHOWN = 200
_DEFAULT_CHARACTERS = 20_000
_MOST_CHARACTERS = 60_000

_Path = Annotated[str, Field(description="Path in the workspace, such as notes/plan.txt")]
_Folder = Annotated[str, Field(description="Folder in the workspace; the whole workspace when left out")]


class Workspace(BaseToolManager):
    """The tools file_list, file_read, file_write, file_append, file_delete and file_find, for text files."""

    def __init__(
        self,
        root: Path | str,
        *,
        max_bytes: int = 20_000_000,
        max_files: int = 1_000,
        max_file_bytes: int = 1_000_000,
        folder_of: Callable[[ToolContext], str] = lambda context: context.run_id,
    ) -> None:
        """
        Args:
            root: Where the folders of all runs are; made when first written to. Nothing removes them.
            folder_of: Whose files a call sees. The run's own unless told: give the id of a task to let its runs share.

        Raises:
            ConfigurationError: a limit is no number above 0.
        """
        if min(max_bytes, max_files, max_file_bytes) <= 0:
            raise ConfigurationError("the limits of a workspace must be greater than 0")
        self._root = Path(root)
        self._quota = Quota(max_bytes, max_files, max_file_bytes)
        self._folder_of = folder_of
        self._tools = ToolRegistry([*_reading_tools(self.folder), *_writing_tools(self.folder)])

    def folder(self, context: ToolContext) -> RunFolder:
        """The files that this call sees."""
        return RunFolder(self._root, folder_name(self._folder_of(context)), self._quota)

    async def specs(self) -> Sequence[ToolSpec]:
        return await self._tools.specs()

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return await self._tools.call(call, context)


def _reading_tools(folder_for: Callable[[ToolContext], RunFolder]) -> list[FunctionTool[..., Any]]:
    @tool(side_effect=False)
    def file_list(context: ToolContext, folder: _Folder = ".") -> str:
        """List the files in the workspace, those in folders included, with their sizes."""
        with _failures():
            entries = folder_for(context).entries(folder_parts(folder))
        lines = [_listed(each) for each in entries[:_ENTRIES_LISTED]]
        if len(entries) > _ENTRIES_LISTED:
            lines.append(f"[{len(entries) - _ENTRIES_LISTED} more are not shown; list a folder of them]")
        return "\n".join(lines) or "There are no files."

    @tool(side_effect=False)
    def file_read(
        path: _Path,
        context: ToolContext,
        offset: Annotated[int, Field(ge=0, description="Characters to leave out at the beginning")] = 0,
        max_characters: Annotated[int, Field(ge=1, le=_MOST_CHARACTERS)] = _DEFAULT_CHARACTERS,
    ) -> str:
        """Read a text file. A long one comes in parts: ask again with the offset that is told."""
        with _failures():
            text = _text(folder_for(context).read(path_parts(path)), path)
        part = text[offset : offset + max_characters]
        end = offset + len(part)
        if not part:
            return f"[nothing to show: the file has {len(text)} characters]"
        more = f"\n[characters {offset} to {end} of {len(text)}; ask with offset={end} for more]"
        return part + more if end < len(text) else part

    @tool(side_effect=False)
    def file_find(
        text: Annotated[str, Field(min_length=1, max_length=500, description="Text to look for, exactly as written")],
        context: ToolContext,
        folder: _Folder = ".",
    ) -> str:
        """Find the lines that hold a text, in all text files of the workspace."""
        with _failures():
            lines = list(_matches(folder_for(context), folder_parts(folder), text))
        if len(lines) > _MATCHES_LISTED:
            lines[_MATCHES_LISTED:] = ["[more lines match; look in a folder or for a longer text]"]
        return "\n".join(lines) or "No line holds it."

    return [file_list, file_read, file_find]


def _writing_tools(folder_for: Callable[[ToolContext], RunFolder]) -> list[FunctionTool[..., Any]]:
    @tool(on_unknown=OnUnknown.retry)
    def file_write(path: _Path, content: str, context: ToolContext) -> str:
        """Write a text file, in place of what it held. Folders on the way are made."""
        with _failures():
            raw = _bytes(content)
            folder_for(context).write(path_parts(path), raw)
        return f"Wrote {len(raw):,} bytes to {path}."

    # Not to be repeated: the text would be there twice, and nobody could tell.
    @tool(on_unknown=OnUnknown.ask)
    def file_append(path: _Path, content: str, context: ToolContext) -> str:
        """Add text to the end of a file; a file that is not there is made. Put a line break where one belongs."""
        with _failures():
            size = folder_for(context).append(path_parts(path), _bytes(content))
        return f"{path} has {size:,} bytes now."

    @tool(on_unknown=OnUnknown.retry)
    def file_delete(path: _Path, context: ToolContext) -> str:
        """Delete a file, or a folder that is empty."""
        with _failures():
            was_there = folder_for(context).delete(path_parts(path.rstrip("/") or path))
        return f"Deleted {path}." if was_there else f"{path} was not there."

    return [file_write, file_append, file_delete]


@contextmanager
def _failures() -> Iterator[None]:
    """What the operating system says of a file, without the paths of this machine.

    Raises:
        ToolFailed
    """
    try:
        yield
    except OSError as error:
        raise ToolFailed(f"The file system refused: {error.strerror or type(error).__name__}.") from error


def _listed(entry: Entry) -> str:
    if entry.is_folder:
        return f"{entry.path}/"
    return f"{entry.path} ({entry.size:,} bytes)" if entry.is_plain else f"{entry.path} (not a file that can be read)"


def _matches(folder: RunFolder, parts: tuple[str, ...], text: str) -> Iterator[str]:
    """One more than is listed, to know that there are more."""
    left = _MATCHES_LISTED + 1
    for entry in folder.entries(parts):
        content = _searchable(folder, entry) if entry.is_plain else ""
        if text not in content:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            if text in line:
                yield f"{entry.path}:{number}: {line.strip()[:_LINE_SHOWN]}"
                left -= 1
            if not left:
                return


def _searchable(folder: RunFolder, entry: Entry) -> str:
    """Nothing for what is no text, or went away since it was listed."""
    try:
        return _text(folder.read(entry.path.split("/")), entry.path)
    except ToolFailed:
        return ""


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ToolFailed(f"{path!r} is no text but binary data ({len(content):,} bytes).") from error


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolFailed("The content is not valid Unicode (a lone surrogate).") from error
