"""Answers to MCP clients: with the sources that a provider cites, and with a continued rest."""

from __future__ import annotations

from antiphon.client.async_client import AsyncClient
from antiphon.mcp.server.handlers import McpHandlers
from antiphon.mcp.server.tools import AskOutput, ReadThreadOutput
from antiphon.testing import Script

PAGE = "https://tides.example/moon?a=1&b=2"
CITED = [(PAGE, "The *moon*](javascript:alert(1)) <b>"), ("https://tides.example/sun", "")]
SOURCES = (
    "Sources:\n\n"
    rf"1. [The \*moon\*\](javascript:alert(1)) \<b\>](<{PAGE}>)"
    "\n2. [https://tides.example/sun](<https://tides.example/sun>)"
)


async def ignore(number: int, text: str) -> None:
    pass


async def test_an_answer_lists_the_pages_that_its_provider_cites() -> None:
    script = Script().reply("The moon[1].", citations=CITED).reply("Nothing more.")
    async with AsyncClient(settings=script.settings()) as client:
        handlers = McpHandlers(client, script.settings())
        answer = await handlers.call("ask", {"text": "Why tides?"}, ignore)
        assert isinstance(answer, AskOutput)
        more = {"text": "What else?", "thread_id": answer.thread_id}
        second = await handlers.call("ask", more, ignore)
        thread = await handlers.call("read_thread", {"thread_id": answer.thread_id}, ignore)
        markdown = await handlers.markdown(answer.thread_id)

    assert answer.text == f"The moon[1].\n\n{SOURCES}"
    assert isinstance(second, AskOutput)
    assert second.text == "Nothing more."
    assert isinstance(thread, ReadThreadOutput)
    assert thread.messages[1].text == answer.text
    assert f"## assistant\n\nThe moon[1].\n\n{SOURCES}\n\n## user" in markdown


async def test_a_cut_answer_and_its_rest_are_one_answer() -> None:
    script = Script().reply("Once upon a ", finish="length").reply("time.")
    async with AsyncClient(settings=script.settings()) as client:
        handlers = McpHandlers(client, script.settings())
        cut_answer = await handlers.call("ask", {"text": "A story."}, ignore)
        assert isinstance(cut_answer, AskOutput)
        async for _ in client.converse(thread_id=cut_answer.thread_id, continues=True):
            pass
        markdown = await handlers.markdown(cut_answer.thread_id)

    assert markdown.endswith("## assistant\n\nOnce upon a time.")
