"""Pages of lists that iterate over the pages after them, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from msgspec.structs import force_setattr, replace

from antiphon.api.operations import Listed, Operation
from antiphon.client.async_transport import AsyncTransport

T = TypeVar("T")


class AsyncPage(Listed[T], Generic[T], frozen=True, dict=True):
    """A page of a list: its items are in `data`. `async for` goes on with the pages after it."""

    def __aiter__(self) -> AsyncIterator[T]:
        return iterate_pages(self, *self.__dict__["source"])


async def send_listing(transport: AsyncTransport, listing: Operation[Listed[T]]) -> AsyncPage[T]:
    """Send the operation and return its page."""
    answer = await transport.send(listing)
    page = AsyncPage(answer.data, answer.has_more, answer.next)
    force_setattr(page, "source", (transport, listing))
    return page


async def iterate_pages(
    page: Listed[T], transport: AsyncTransport, listing: Operation[Listed[T]]
) -> AsyncIterator[T]:
    """Yield the items of the page, and of those after it in this list."""
    for each in page.data:
        yield each
    while page.has_more:
        page = await transport.send(replace(listing, after=page.next))
        for each in page.data:
            yield each


async def paginate(transport: AsyncTransport, listing: Operation[Listed[T]]) -> AsyncIterator[T]:
    """Iterate over the items of all pages of a list."""
    async for each in await send_listing(transport, listing):
        yield each
