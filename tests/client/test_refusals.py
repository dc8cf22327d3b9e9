"""A run that its provider does not support is refused at its creation, on both transports."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError, InvalidRequest, UnsupportedByProvider
from antiphon.types.messages import File, Image, Text, ToolSpec
from antiphon.types.runs import Sampling

PLAIN = {"base_url": "http://127.0.0.1:9/v1", "lacks": ["tools", "seed", "images", "files"]}
SETTINGS = Settings(
    model="plain:m",
    database="memory:",
    port=0,
    shutdown_timeout=0.1,
    providers={"plain": PLAIN, "able": {"base_url": "http://127.0.0.1:9/v1"}},
)
TOOL = ToolSpec("f", "", {"type": "object"})
PNG = "data:image/png;base64,AA=="


@pytest.fixture(params=["http", "embedded"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    if request.param == "embedded":
        async with AsyncClient(settings=SETTINGS) as client:
            yield client
    else:
        async with run_server(SETTINGS) as url, AsyncClient(url) as client:
            yield client


async def catch_refusal(client: AsyncClient, **options: Any) -> AntiphonError:
    thread = await client.create_thread()
    with pytest.raises(AntiphonError) as error_info:
        await client.create_run(thread.id, **options)
    return error_info.value


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tools": (TOOL,)}, ["tools"]),
        ({"sampling": Sampling(seed=7)}, ["seed"]),
        ({"sampling": Sampling(seed=7), "tools": (TOOL,)}, ["tools", "seed"]),
    ],
)
async def test_a_run_cannot_ask_for_what_the_provider_has_not_got(
    client: AsyncClient, options: dict[str, Any], expected: Sequence[str]
):
    error = await catch_refusal(client, **options)

    assert isinstance(error, UnsupportedByProvider)
    assert error.code == "unsupported_by_provider"
    assert error.details["provider"] == "plain"
    assert error.details["settings"] == list(expected)
    assert "plain" in error.message
    assert error.details["hint"]


async def test_an_assistant_may_ask_since_another_model_may_answer(client: AsyncClient):
    assistant = await client.create_assistant("A", sampling=Sampling(seed=7))
    error = await catch_refusal(client, assistant_id=assistant.id)
    thread = await client.create_thread()

    run = await client.create_run(thread.id, assistant_id=assistant.id, model="able:m")

    assert isinstance(error, UnsupportedByProvider)
    assert run.sampling.seed == 7


async def test_a_message_is_not_kept_where_its_run_is_refused(client: AsyncClient):
    thread = await client.create_thread()
    with pytest.raises(UnsupportedByProvider):
        async for _ in client.converse("Hi", thread_id=thread.id, sampling=Sampling(seed=7)):
            pass

    assert (await client.list_messages(thread.id)).data == []


async def test_pictures_and_files_are_refused_wherever_in_the_thread_they_are(client: AsyncClient):
    thread = await client.create_thread()
    await client.create_message(thread.id, (Text("Look"), Image(url=PNG)))
    pdf = await client.upload_file(b"%PDF-", name="a.pdf")
    with pytest.raises(UnsupportedByProvider) as picture_error:
        await client.create_run(thread.id)
    other = await client.create_thread()
    await client.create_message(other.id, (File(pdf.id),))
    with pytest.raises(UnsupportedByProvider) as file_error:
        await client.create_run(other.id)

    assert picture_error.value.details["settings"] == ["images"]
    assert file_error.value.details["settings"] == ["files"]
    assert (await client.create_run(thread.id, model="able:m")).model == "able:m"


async def test_a_file_of_text_is_sent_as_text_so_every_provider_takes_it(client: AsyncClient):
    thread = await client.create_thread()
    note = await client.upload_file(b'{"type":"file"}', name="a.txt")
    await client.create_message(thread.id, (File(note.id),))

    assert (await client.create_run(thread.id)).model == "plain:m"


# Requests that no provider would accept.


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"top_p": 1.1},
        {"max_output_tokens": 0},
        {"stop": ("x",) * 17},
        {"stop": ("",)},
        {"reasoning_effort": "very high!"},
        {"logit_bias": {"1": 101}},
        {"logit_bias": {"word": 1}},
        {"tool_choice": "g"},
        {"tool_choice": ""},
        {"tool_choice": {"type": "function"}},
        {"tool_choice": {"type": "function", "function": {"name": "g"}}},
        {"response_format": {"type": "yaml"}},
        {"response_format": {}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "", "schema": {}}}},
        {"stop": ()},
        {"logit_bias": {}},
    ],
    ids=str,
)
async def test_what_no_provider_would_take_is_refused_with_what_may_be(
    client: AsyncClient, sampling: dict[str, Any]
):
    error = await catch_refusal(
        client, model="able:m", tools=(TOOL,), sampling=Sampling(**sampling)
    )

    assert isinstance(error, InvalidRequest)
    assert "sampling" in error.details["where"]
    assert error.details["expected"]


@pytest.mark.parametrize("choice", ["required", "f"])
async def test_no_tool_can_be_made_to_be_called_where_none_is_offered(
    client: AsyncClient, choice: str
):
    error = await catch_refusal(client, model="able:m", sampling=Sampling(tool_choice=choice))

    assert isinstance(error, InvalidRequest)
    assert error.details["expected"] == "auto, none"


@pytest.mark.parametrize(
    "sampling",
    [
        {"tool_choice": "f"},
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        {"temperature": 2, "top_p": 0, "stop": ("a", "b"), "reasoning_effort": "xhigh"},
        {"logit_bias": {"1": -100, "2": 100}},
    ],
    ids=str,
)
async def test_what_providers_take_is_kept_as_it_was_said(
    client: AsyncClient, sampling: dict[str, Any]
):
    thread = await client.create_thread()
    expected = Sampling(**sampling)

    run = await client.create_run(thread.id, model="able:m", tools=(TOOL,), sampling=expected)

    assert run.sampling == expected


@pytest.mark.parametrize("bad_sampling", [{"response_format": {}}, {"tool_choice": {}}])
async def test_an_assistant_too_has_a_choice_and_a_format_of_a_known_shape(
    client: AsyncClient, bad_sampling: dict[str, Any]
):
    assistant = await client.create_assistant("A")

    with pytest.raises(InvalidRequest):
        await client.create_assistant("B", sampling=Sampling(**bad_sampling))
    with pytest.raises(InvalidRequest):
        await client.update_assistant(assistant.id, sampling=Sampling(**bad_sampling))
