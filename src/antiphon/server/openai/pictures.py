"""Pictures that hosted tools make: items of the type `image_generation_call` hold their bytes.

The log has only the ids of their files, so the files are read before the events become items.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

from antiphon.server.caller_api import CallerApi
from antiphon.server.streaming import EventPages
from antiphon.types import events
from antiphon.types.errors import NotFound
from antiphon.types.events import Event, ToolOutputAdded
from antiphon.wires.openai.hosted_tools import HostedRun

IMAGES = "image_generation"


async def load_pictures(api: CallerApi, hosted: HostedRun, file_ids: Iterable[str]) -> None:
    """Read those of these files that are pictures; one that was deleted is left out."""
    for file_id in file_ids:
        if file_id in hosted.pictures:
            continue
        try:
            about, content = await api.read_file(file_id)
        except NotFound:
            continue
        if about.media_type.startswith("image/"):
            hosted.pictures[file_id] = base64.b64encode(content).decode()


async def load_picture(api: CallerApi, hosted: HostedRun, event: Event) -> None:
    """Read the pictures of a tool's output, if the run has a tool that makes any."""
    if isinstance(event, ToolOutputAdded) and event.files and hosted.calls.has(IMAGES):
        await load_pictures(api, hosted, event.files)


def pages_with_pictures(api: CallerApi, hosted: HostedRun, pages: EventPages) -> EventPages:
    """Return pages whose pictures are read before they are yielded."""
    return _PicturePages(api, hosted, pages) if hosted.calls.has(IMAGES) else pages


class _PicturePages:
    """Pages of a run, which read pictures as they come."""

    def __init__(self, api: CallerApi, hosted: HostedRun, pages: EventPages) -> None:
        self.run_id = pages.run_id
        self._api = api
        self._hosted = hosted
        self._pages = pages

    async def pages(
        self, send_now: Callable[[int, Sequence[bytes]], bool] | None = None
    ) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        """Yield pages; none is sent at once, since its pictures must be read first."""
        async with aclosing(self._pages.pages()) as pages:
            async for first, lines in pages:
                for line in lines:
                    if events.type_of(line) == b"tool_output.added":
                        await load_picture(self._api, self._hosted, events.decode(line))
                yield first, lines
