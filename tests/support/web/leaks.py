"""A listener that records attempts of a hostile document to send data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Listener:
    """Records connections over TCP and packets over UDP; `origin` is its address for the web."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.origin = ""
        self.tcp = 0
        self.udp = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.read(200))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._heard.append(data)


@asynccontextmanager
async def listening() -> AsyncGenerator[Listener]:
    """Run a listener on loopback."""
    listener = Listener()
    server = await asyncio.start_server(listener._serve, "127.0.0.1", 0)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Packets(listener.heard), ("127.0.0.1", 0)
    )
    listener.tcp = server.sockets[0].getsockname()[1]
    listener.udp = transport.get_extra_info("sockname")[1]
    listener.origin = f"http://127.0.0.1:{listener.tcp}"
    try:
        yield listener
    finally:
        transport.close()
        server.close()
