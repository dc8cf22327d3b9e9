"""A model server is used wherever its address is set, and no other address is contacted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model
from tests.support.trust import trust_file

WATCH = '''\
"""Writes down every address that this process connects to, and every name that it looks up."""

import sys

LOG = {log!r}


def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(LOG, "a") as log:
            log.write(f"{{event}} {{arguments[1:] if event == 'socket.connect' else arguments}}\\n")


sys.addaudithook(note)
'''


async def answer_first_message(chat: Chatting, model: Model) -> None:
    """Send the first message of this chat, and answer it from this model."""
    await chat.ready()
    chat.say("Hello")
    reply = await model.next_request()
    await reply.answer("Hi there.")
    await chat.sees("Hi there.")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["flag", "environment", "folder", "own file"])
async def test_an_address_may_be_named_anywhere(tmp_path: Path, where: str) -> None:
    async with Model() as model:
        flags: tuple[str, ...] = ()
        environ: Mapping[str, str] = {}
        config_text = f'base_url = "{model.url}"\nmodel = "mine"\n'
        match where:
            case "flag":
                flags = ("--base-url", model.url, "--model", "mine")
            case "environment":
                environ = {"ANTIPHON_BASE_URL": model.url, "ANTIPHON_MODEL": "mine"}
            case "folder":
                (tmp_path / "antiphon.toml").write_text(config_text)
                flags = ("--config-file", "antiphon.toml")
            case _:
                own_file = tmp_path / "config" / "antiphon" / "antiphon.toml"
                own_file.parent.mkdir(parents=True)
                own_file.write_text(config_text)
        async with Chatting(None, *flags, home=tmp_path, environ=environ) as chat:
            await answer_first_message(chat, model)

            assert model.requests[0]["model"] == "mine"


@pytest.mark.slow
async def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path,
) -> None:
    async with Model() as flag_model, Model() as environ_model, Model() as file_model:
        (tmp_path / "antiphon.toml").write_text(f'base_url = "{file_model.url}"\nmodel = "mine"\n')
        environ = {"ANTIPHON_BASE_URL": environ_model.url}
        folders = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CONFIG")}
        trust_file(tmp_path / "antiphon.toml", folders)
        async with Chatting(flag_model, home=tmp_path, environ=environ) as chat:
            await answer_first_message(chat, flag_model)
        async with Chatting(None, home=tmp_path, environ=environ) as chat:
            await answer_first_message(chat, environ_model)

        assert not file_model.requests


@pytest.mark.slow
async def test_without_a_network_nothing_is_missed(tmp_path: Path) -> None:
    log = tmp_path / "connections"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    environ = {"PYTHONPATH": str(tmp_path)}
    async with (
        Model() as model,
        Chatting(model, home=tmp_path, environ=environ) as chat,
    ):
        await answer_first_message(chat, model)
        chat.say("/usage")
        chat.say("/context")
        chat.say("And on.")
        await (await model.next_request()).answer("On it is.")
        await chat.sees("On it is.")
        connections = log.read_text().splitlines()

        assert connections
        assert all("127.0.0.1" in each for each in connections), connections
