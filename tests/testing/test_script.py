"""Programs are tested without a model: a script contains its replies."""

from __future__ import annotations

import gc
from pathlib import Path

import msgspec
import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.testing import Script
from antiphon.types.errors import RunFailed, RunIncomplete
from antiphon.types.messages import File, ToolCall


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Flight times between two airports."""
    return {"departs": f"{departure} 16:35", "arrives": f"{arrival} 23:10"}


def test_a_bot_calls_its_tool_and_answers(antiphon_script: Script, antiphon_client: Client) -> None:
    antiphon_script.call("get_flight_times", departure="LAX", arrival="JFK")
    antiphon_script.reply("It leaves at 16:35.", reasoning="Hm.", tokens=(20, 6))

    result = antiphon_client.ask("When is the flight?", tools=[get_flight_times])

    [call] = result.calls
    assert result.text == "It leaves at 16:35."
    assert msgspec.json.decode(call.output or "")["departs"] == "LAX 16:35"
    assert (result.usage.input_tokens, result.usage.output_tokens) == (20, 6)
    assert antiphon_script.messages[-1]["role"] == "tool"
    assert antiphon_script.remaining == 0


def test_several_calls_come_in_one_reply(antiphon_script: Script, antiphon_client: Client) -> None:
    trips = [{"departure": "LAX", "arrival": each} for each in ("JFK", "SFO")]
    calls = [("get_flight_times", trip) for trip in trips]
    antiphon_script.calls(*calls, text='I "look"\nthem up.').reply("Done.")

    result = antiphon_client.ask("When?", tools=[get_flight_times])

    assert [msgspec.json.decode(call.arguments)["arrival"] for call in result.calls] == [
        "JFK",
        "SFO",
    ]
    assert result.messages[0].text == 'I "look"\nthem up.'


async def test_an_async_client_and_a_server_play_scripts_too(
    antiphon_script: Script, antiphon_settings: Settings
) -> None:
    antiphon_script.reply("One.").reply("Two.")
    async with AsyncClient(settings=antiphon_settings) as client:
        assert (await client.ask("Say")).text == "One."
    server_settings = antiphon_script.settings(port=0, shutdown_timeout=0.1)
    async with run_server(server_settings) as url, AsyncClient(url, api_key="k") as client:
        assert (await client.ask("Say")).text == "Two."


def test_a_failure_a_cut_and_a_short_answer_end_as_those_of_providers(
    antiphon_script: Script, antiphon_client: Client
) -> None:
    antiphon_script.fail("provider_auth", "No\nkey.").reply("Too long", finish="length")

    with pytest.raises(RunFailed) as failed:
        antiphon_client.ask("Say")
    with pytest.raises(RunIncomplete) as cut:
        antiphon_client.ask("Say")

    assert failed.value.error_code == "provider_auth"
    assert (cut.value.reason, cut.value.text) == ("length", "Too long")


def test_a_cut_reply_is_incomplete(antiphon_script: Script, antiphon_client: Client) -> None:
    antiphon_script.cut("Half of it")
    with pytest.raises(RunIncomplete) as cut:
        antiphon_client.ask("Say")

    assert (cut.value.reason, cut.value.text) == ("disconnected", "Half of it")


def test_a_recorded_reply_is_played(
    antiphon_script: Script, antiphon_client: Client, tmp_path: Path
) -> None:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    lines = b"\n".join(map(msgspec.json.encode, [*pieces, end]))
    (tmp_path / "hello.jsonl").write_bytes(lines)
    antiphon_script.replay(tmp_path / "hello.jsonl").replay(lines)

    assert [antiphon_client.ask("Say").text for _ in range(2)] == ["Hello", "Hello"]


def test_a_script_that_is_over_fails_the_run_and_says_so(
    antiphon_script: Script, antiphon_client: Client
) -> None:
    antiphon_script.reply("One.")
    antiphon_client.ask("Say")

    with pytest.raises(RunFailed, match="The script has only 1 replies"):
        antiphon_client.ask("Say")


def test_a_script_that_is_gone_is_missed() -> None:
    script = Script()
    settings = script.settings()
    del script
    gc.collect()

    with Client(settings=settings) as client, pytest.raises(RunFailed, match="There is no script"):
        client.ask("Say")


def test_two_scripts_are_two_models(antiphon_client: Client, antiphon_script: Script) -> None:
    other = Script().reply("The other.")
    antiphon_script.reply("The one.")

    assert antiphon_client.ask("Say", model=other.model).text == "The other."
    assert antiphon_client.ask("Say").text == "The one."


def test_a_model_reads_that_a_file_is_gone(
    antiphon_script: Script, antiphon_client: Client
) -> None:
    antiphon_script.reply("Which file?")
    upload = antiphon_client.upload_file(b"old pond", "haiku.txt")
    thread = antiphon_client.create_thread()
    antiphon_client.create_message(thread.id, (File(file_id=upload.id),))
    antiphon_client.delete_file(upload.id)

    antiphon_client.ask("Read it.", thread_id=thread.id)

    assert "it is gone" in str(antiphon_script.messages[0]["content"])


def test_a_failure_has_a_code_of_providers() -> None:
    with pytest.raises(ValueError, match="'not_found' is no code"):
        Script().fail("not_found")


def test_arguments_reach_the_tool_as_they_are(
    antiphon_script: Script, antiphon_client: Client
) -> None:
    calls: list[ToolCall] = []

    def note(text: str, call: ToolCall) -> None:
        """Note it."""
        calls.append(call)

    antiphon_script.call("note", text='Ünï "x"\n  y').reply("Noted.")
    antiphon_client.ask("Note it", tools=[note])

    assert msgspec.json.decode(calls[0].arguments) == {"text": 'Ünï "x"\n  y'}
