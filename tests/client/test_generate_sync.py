"""The script that generates the sync client: its translations, and that the files are current."""

from pathlib import Path
from textwrap import dedent

import pytest

from scripts import generate_sync


def translate(source: str) -> str:
    """Return the formatted translation without its header."""
    code = generate_sync.generate(dedent(source), "async_x.py")
    return code.split("\n", 2)[2].strip()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f():\n    await g()", "def f():\n    g()"),
        ("async def f():\n    return (await g()).data[0]", "def f():\n    return g().data[0]"),
        ("async def f():\n    return (await g())[0]", "def f():\n    return g()[0]"),
        ("async def f():\n    return (await g() or h).x", "def f():\n    return (g() or h).x"),
        ("async def f():\n    x = await anext(y)", "def f():\n    x = next(y)"),
        (
            "async def f():\n    async with g() as x, h():\n        await x.aclose()",
            "def f():\n    with g() as x, h():\n        x.close()",
        ),
        (
            "async def f():\n    return {x: 1 async for x in g() if await h(x)}",
            "def f():\n    return {x: 1 for x in g() if h(x)}",
        ),
        (
            "async def f():\n    return g([x async for x in h()])",
            "def f():\n    return g(list(h()))",
        ),
        (
            "async def f():\n    async for x in g():\n        yield x",
            "def f():\n    yield from g()",
        ),
        ("x: Callable[[A], Awaitable[B | None]]", "x: Callable[[A], B | None]"),
        ("class AsyncEvents(AsyncIterator[Event]): ...", "class Events(Iterator[Event]): ..."),
        ("x = async_method(operations.CreateRun)", "x = sync_method(operations.CreateRun)"),
    ],
)
def test_code_is_translated(source: str, expected: str):
    assert translate(source) == expected


def test_calls_in_a_thread_are_made_at_once():
    source = """\
        import asyncio

        async def f():
            await asyncio.to_thread(x.close)
            return await asyncio.to_thread(read, "é", deep=(1, 2))
    """

    assert translate(source) == dedent("""\
        def f():
            x.close()
            return read("é", deep=(1, 2))""")


def test_a_pause_needs_another_import():
    source = """\
        import asyncio
        from contextlib import aclosing

        from antiphon.client.async_transport import AsyncTransport

        async def f(x: AsyncTransport):
            async with aclosing(x):
                await asyncio.sleep(1)
    """

    assert translate(source) == dedent("""\
        import time
        from contextlib import closing

        from antiphon.client.sync_transport import Transport


        def f(x: Transport):
            with closing(x):
                time.sleep(1)""")


def test_examples_and_comments_are_translated_and_prose_is_not():
    source = '''\
        class AsyncClient:
            """Conversations for asyncio. It belongs to one event loop.

                async with AsyncClient() as client:
                    async for event in client.converse("Do not await the answer"):
                        await save(event)
            """

            x = 1  # as `await client.close()` of this AsyncClient; async code is fast
    '''

    assert translate(source) == dedent('''\
        class Client:
            """Conversations for sync code. Threads may share it.

            with Client() as client:
                for event in client.converse("Do not await the answer"):
                    save(event)
            """

            x = 1  # as `client.close()` of this Client; async code is fast''')


def test_a_use_of_asyncio_without_a_counterpart_is_an_error():
    with pytest.raises(SyntaxError, match=r"no sync counterpart here: asyncio.wait\(x\)"):
        generate_sync.to_sync("import asyncio\n\nasync def f():\n    await asyncio.wait(x)\n")


def test_a_stale_file_is_reported_and_written_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "async_x.py").write_text("async def f():\n    await g()\n")
    twin = tmp_path / "sync_x.py"
    twin.write_text("def f():\n    h()\n")

    assert generate_sync.main(["--check"], tmp_path) == 1
    output = capsys.readouterr().out
    assert f"{twin} is stale" in output
    assert "make format" in output
    assert twin.read_text() == "def f():\n    h()\n"

    assert generate_sync.main([], tmp_path) == 0
    assert twin.read_text().startswith("# Generated from async_x.py")
    assert generate_sync.main(["--check"], tmp_path) == 0


def test_the_generated_files_are_current():
    assert generate_sync.main(["--check"]) == 0
