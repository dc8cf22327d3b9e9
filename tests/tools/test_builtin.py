"""The built-in tools: their results and their refusals."""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from antiphon import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.allowed_folders import AllowedFolders
from antiphon.tools.builtin import MAX_ENTRIES, MAX_FILE_BYTES, builtins
from antiphon.tools.functions import Functions
from antiphon.tools.questions import AskUser
from antiphon.types.errors import BadSettings, InvalidRequest, NotFound
from antiphon.types.events import Event, ToolOutputAdded
from antiphon.types.messages import ToolCall, ToolResult
from tests.support.tools.far_server import FarServer, serve_far
from tests.support.tools.loaded import load

MODULE = "antiphon.tools.builtin"


DEFAULT_SETTINGS = Settings()


async def call_tool(
    name: str, settings: Settings = DEFAULT_SETTINGS, ask: AskUser | None = None, **arguments: Any
) -> ToolResult:
    toolbox = Functions(builtins(settings, ask))
    return await toolbox.call(ToolCall("c1", name, msgspec.json.encode(arguments).decode()))


async def call_text(name: str, settings: Settings = DEFAULT_SETTINGS, **arguments: Any) -> str:
    result = await call_tool(name, settings, **arguments)
    assert not result.is_error, result.output
    return result.output


async def call_error(name: str, settings: Settings = DEFAULT_SETTINGS, **arguments: Any) -> str:
    result = await call_tool(name, settings, **arguments)
    assert result.is_error, result.output
    return result.output


def names(functions: Sequence[Any]) -> list[str]:
    return [spec.name for spec in Functions(functions).specs()]


def test_the_module_brings_what_needs_no_setting() -> None:
    assert names(load(MODULE)) == ["current_time", "calculate", "fetch_url"]


def test_the_module_brings_the_files_where_there_are_folders_to_read(tmp_path: Path) -> None:
    assert names(load(MODULE, Settings(allowed_paths=(str(tmp_path),)))) == [
        *("current_time", "calculate", "fetch_url", "read_file", "list_files"),
    ]


@pytest.mark.parametrize("name", names(builtins(Settings())))
def test_each_can_be_named_alone(name: str) -> None:
    assert names(load(f"{MODULE}:{name}")) == [name]


async def test_a_tool_that_is_named_alone_has_the_settings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("here")
    (tool,) = load(f"{MODULE}:read_file", Settings(allowed_paths=(str(tmp_path),)))

    assert tool(path="a.txt") == "here"


def test_a_setting_that_no_tool_can_use_is_refused_at_once() -> None:
    with pytest.raises(BadSettings, match="private_hosts"):
        load(MODULE, Settings(private_hosts=("http://x/",)))


@pytest.mark.parametrize(
    "spec", Functions(builtins(Settings())).specs(), ids=lambda spec: spec.name
)
def test_each_tells_a_model_what_it_does_and_what_it_takes(spec: Any) -> None:
    assert len(spec.description) > 30
    assert all(each["description"] for each in spec.parameters["properties"].values())


# The time and numbers


async def test_the_time_is_that_of_the_zone() -> None:
    result = msgspec.json.decode(await call_text("current_time", time_zone="Asia/Kolkata"))

    assert result["time"].endswith("+05:30")
    assert result["weekday"].endswith("day")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "Europe"])
async def test_an_unknown_zone_is_reported(zone: str) -> None:
    assert "There is no time zone" in await call_error("current_time", time_zone=zone)


async def test_an_expression_is_worked_out() -> None:
    assert await call_text("calculate", expression="17 / 100 * 2340") == "397.8"
    assert "too large" in await call_error("calculate", expression="9**9**9")


# Files


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return a folder to read, with files beside it that must not be read."""
    folder = tmp_path / "notes"
    (folder / "plans").mkdir(parents=True)
    (folder / "plans/trip.txt").write_text("one\ntwo\nthree\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    (folder / "empty").write_bytes(b"")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner-link").symlink_to("plans")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    return folder


@pytest.fixture
def settings(notes: Path) -> Settings:
    return Settings(allowed_paths=(str(notes),))


async def test_a_folder_is_listed(settings: Settings) -> None:
    assert (await call_text("list_files", settings)).splitlines() == [
        "empty (0 bytes)",
        "inner-link (link)",
        "link (link)",
        "picture.png (6 bytes)",
        "pipe (pipe)",
        "plans/",
        "socket (socket)",
        "up (link)",
    ]
    assert await call_text("list_files", settings, path="plans/") == "trip.txt (14 bytes)"


async def test_a_file_is_read(settings: Settings) -> None:
    assert await call_text("read_file", settings, path="plans/trip.txt") == "one\ntwo\nthree"
    assert await call_text("read_file", settings, path="./plans//trip.txt") == "one\ntwo\nthree"
    assert await call_text("read_file", settings, path="empty") == ""


async def test_some_lines_of_a_file_are_read(settings: Settings) -> None:
    path = "plans/trip.txt"

    assert await call_text("read_file", settings, path=path, first_line=2) == "two\nthree"
    assert await call_text("read_file", settings, path=path, first_line=2, last_line=2) == "two"
    assert "no line 4" in await call_error("read_file", settings, path=path, first_line=4)


async def test_a_long_file_is_read_in_parts(settings: Settings, notes: Path) -> None:
    (notes / "long").write_text("".join(f"line {number}\n" for number in range(1, 3001)))

    first = (await call_text("read_file", settings, path="long")).splitlines()
    rest = (await call_text("read_file", settings, path="long", first_line=2990)).splitlines()

    assert (first[0], first[-2:]) == ("line 1", ["line 1000", "[lines 1 to 1000 of 3000]"])
    assert (rest[0], rest[-1]) == ("line 2990", "line 3000")


async def test_a_huge_file_is_read_no_further_than_its_limit(
    settings: Settings, notes: Path
) -> None:
    with (notes / "huge").open("wb") as file:
        file.write(b"begins\n")
        file.truncate(MAX_FILE_BYTES * 1000)

    output = await call_error("read_file", settings, path="huge")

    assert "is no text" in output


async def test_a_long_line_is_cut(settings: Settings, notes: Path) -> None:
    (notes / "long").write_text("x" * 1_000_000)

    assert len(await call_text("read_file", settings, path="long")) < 60_000


async def test_a_file_that_is_no_text_is_reported_as_such(settings: Settings) -> None:
    assert "is no text: 6 bytes, image/png" in await call_error(
        "read_file", settings, path="picture.png"
    )


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "plans/../../secret",
        "plans/..",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "link",
        "up/secret",
        "up",
        "inner-link/trip.txt",
        "pipe",
        "socket",
        "plans",
        "plans/trip.txt/more",
        "",
        "nowhere",
        "a\0b",
        "..%2fsecret",
        "..\\secret",
        "~/secret",
        "x/" * 100,
        "y" * 5000,
        "\ud800",
    ],
)
@pytest.mark.parametrize("name", ["read_file", "list_files"])
async def test_nothing_outside_is_opened_and_no_link_is_followed(
    settings: Settings, path: str, name: str
) -> None:
    if name == "list_files" and path in ("plans", ""):
        return
    toolbox = Functions(builtins(settings))
    arguments = msgspec.json.encode({"path": path}) if path != "\ud800" else b'{"path":"\\ud800"}'
    result = await toolbox.call(ToolCall("c1", name, arguments.decode()))

    assert result.is_error
    assert "secret" not in result.output.replace(path, "")


PARTS = st.sampled_from(
    ["..", ".", "", "/", "plans", "trip.txt", "link", "up", "secret", "inner-link", "notes", "~"]
)


@given(path=st.lists(PARTS, max_size=6).map("/".join))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_leads_to_the_secret(notes: Path, path: str) -> None:
    with suppress(InvalidRequest, NotFound):
        assert AllowedFolders([notes]).read(path, 100)[0] != b"secret"


async def test_with_several_folders_a_path_begins_with_one_s_name(tmp_path: Path) -> None:
    for place in ("a/notes", "b/notes", "c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "which").write_text(place)
    several_folders = Settings(
        allowed_paths=tuple(str(tmp_path / place) for place in ("a/notes", "b/notes", "c"))
    )

    assert (await call_text("list_files", several_folders)).splitlines() == [
        "notes/",
        "notes-2/",
        "c/",
    ]
    assert await call_text("read_file", several_folders, path="notes-2/which") == "b/notes"
    assert await call_text("list_files", several_folders, path="c") == "which (1 bytes)"
    assert "A path begins with one of" in await call_error(
        "read_file", several_folders, path="which"
    )
    assert "leads out" in await call_error("read_file", several_folders, path="c/../b/notes/which")


@pytest.mark.parametrize("path", ["proc/self/environ", "dev/zero", "sys/kernel", "proc"])
async def test_what_the_system_makes_up_is_not_read(path: str) -> None:
    whole_system = Settings(allowed_paths=("/",))

    assert "belongs to the system" in await call_error("read_file", whole_system, path=path)
    assert "belongs to the system" in await call_error(
        "read_file", Settings(allowed_paths=("/" + path,)), path="x"
    )


async def test_without_a_folder_the_tools_say_what_to_set() -> None:
    assert "--allowed-paths" in await call_error("read_file", path="a.txt")
    assert "--allowed-paths" in await call_error("list_files")


async def test_a_full_folder_is_listed_in_part(settings: Settings, notes: Path) -> None:
    for number in range(MAX_ENTRIES + 10):
        (notes / "plans" / f"{number:04}").touch()

    lines = (await call_text("list_files", settings, path="plans")).splitlines()

    assert (len(lines), lines[-1]) == (MAX_ENTRIES + 1, "[and 11 more]")


# The internet


@pytest.fixture
async def far() -> AsyncIterator[FarServer]:
    async with serve_far() as server:
        yield server


def allow_far_server(far: FarServer) -> Settings:
    return Settings(private_hosts=(f"127.0.0.1:{far.port}",))


async def test_a_page_is_read_as_text(far: FarServer) -> None:
    far.say("/", "<title>Menu</title><p>Fish &amp; <a href='/c'>chips</a>", "text/html")

    assert (await call_text("fetch_url", allow_far_server(far), url=far.url())).splitlines() == [
        f"[{far.url()}]",
        "[title: Menu]",
        "",
        f"Fish & [chips]({far.url('/c')})",
    ]


async def test_a_text_is_read_as_it_is(far: FarServer) -> None:
    far.say("/", '{"a": "<p>"}', "application/json; charset=utf-8")

    assert (await call_text("fetch_url", allow_far_server(far), url=far.url())).endswith(
        '\n\n{"a": "<p>"}'
    )


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/plain; charset=iso-8859-1", "Käse".encode("latin-1")),
        ("text/html; charset=windows-1252", "Käse".encode("cp1252")),
        ("text/html", b"<meta charset='latin1'>" + "Käse".encode("latin-1")),
        ("text/plain", "Käse".encode()),
        ("text/plain; charset=zlib", "Käse".encode()),
        ("text/plain; charset=idna", "Käse".encode()),
    ],
)
async def test_text_is_read_in_its_charset(far: FarServer, media_type: str, body: bytes) -> None:
    far.say("/", body, media_type)

    assert (await call_text("fetch_url", allow_far_server(far), url=far.url())).endswith("Käse")


async def test_a_page_that_is_no_text_is_reported_as_such(far: FarServer) -> None:
    far.say("/", b"%PDF", "application/pdf")

    assert "is application/pdf" in await call_error(
        "fetch_url", allow_far_server(far), url=far.url()
    )


async def test_an_error_page_is_returned_with_its_status(far: FarServer) -> None:
    far.answers["/"] = "404 Not Found", {"content-type": "text/plain"}, b"gone"

    assert "answered with status 404]" in await call_text(
        "fetch_url", allow_far_server(far), url=far.url()
    )


async def test_a_long_text_is_read_in_parts(far: FarServer) -> None:
    far.say("/", "0123456789" * 6000)

    first = await call_text("fetch_url", allow_far_server(far), url=far.url())
    rest = await call_text("fetch_url", allow_far_server(far), url=far.url(), from_character=50_000)

    assert first.endswith("[more from character 50000 on]")
    assert rest.endswith("0123456789")


async def test_more_than_anybody_reads_is_cut(far: FarServer) -> None:
    far.say("/", "x" * 3_000_000)

    output = await call_text(
        "fetch_url", allow_far_server(far), url=far.url(), from_character=1_990_000
    )

    assert output.endswith("[the rest is too long]")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://0x7f.1/", "file:///etc/passwd", "x"])
async def test_what_is_not_public_is_not_fetched(url: str) -> None:
    message = await call_error("fetch_url", url=url)
    assert "not a public address" in message or "http and https only" in message, message


async def test_one_private_host_opens_no_other(far: FarServer) -> None:
    async with serve_far() as other:
        assert "not a public address" in await call_error(
            "fetch_url", allow_far_server(far), url=other.url()
        )


# The user


async def test_the_user_is_asked_and_answers() -> None:
    questions: list[Any] = []

    async def ask(question: str, choices: Sequence[str]) -> str | None:
        questions.append((question, *choices))
        return "blue"

    result = await call_tool("ask_user", ask=ask, question="Which?", choices=["red", "blue"])

    assert (result.output, questions) == ("blue", [("Which?", "red", "blue")])


async def test_no_answer_and_nobody_to_ask_are_results() -> None:
    async def ask(question: str, choices: Sequence[str]) -> str | None:
        return None

    assert (await call_tool("ask_user", ask=ask, question="Which?")).fault == "refused"
    assert (await call_tool("ask_user", question="Which?")).fault == "unavailable"


# A whole conversation


async def test_a_conversation_runs_them(settings: Settings) -> None:
    demo_settings = Settings(model="demo", database="memory:", demo_delay=0)
    async with AsyncClient(settings=demo_settings) as client:
        events: list[Event] = [
            event
            async for event in client.converse("Please use list_files", tools=builtins(settings))
        ]

    (output,) = [event for event in events if isinstance(event, ToolOutputAdded)]
    assert (output.is_error, "plans/" in output.output) == (False, True)
