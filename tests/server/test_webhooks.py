"""Webhooks of a server, as the programs of others see them."""

from __future__ import annotations

import json

import openai
from msgspec.structs import replace
from openai.types.webhooks import ResponseCompletedWebhookEvent

from antiphon import AsyncClient
from antiphon.testing.script import Script
from tests.server.openai_place import Place
from tests.support.runtime.webhooks import headers_of
from tests.support.server.served import SETTINGS, eventually, serve
from tests.support.tools.far_server import serve_far


async def test_openai_reads_the_end_of_a_background_response_as_its_own_event() -> None:
    script = Script().reply("Hello.")
    settings = replace(SETTINGS, model=script.model, webhook_hosts=("127.0.0.1",))
    async with (
        serve_far() as far,
        serve(settings) as server,
        AsyncClient(server.url) as native_client,
    ):
        place = Place(server, script, native_client)
        far.say("/hook", "thanks")
        created = await native_client.create_webhook(far.url("/hook"), ["response.completed"])

        async with place.client as client:
            response = await client.responses.create(
                model=script.model, input="Hello?", background=True
            )

            async def is_delivered() -> bool:
                return bool(far.requests)

            await eventually(is_delivered)
        (request,) = far.requests
        receiver = openai.OpenAI(api_key="unused", webhook_secret=created.secret)
        event = receiver.webhooks.unwrap(request.body, headers_of(request))

        assert isinstance(event, ResponseCompletedWebhookEvent)
        assert (event.type, event.data.id) == ("response.completed", response.id)
        assert event.id == request.headers["webhook-id"]


async def test_webhooks_that_are_off_cannot_be_created_and_nothing_is_sent() -> None:
    async with serve(replace(SETTINGS, webhooks=False)) as server:
        client = await server.client()

        answer = await client.post("/v1/webhooks", json={"url": "https://hooks.example/"})

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "webhooks" in answer.json()["hint"]
        assert server.runtime.webhooks is None


async def test_a_secret_is_in_the_response_and_in_no_list() -> None:
    async with serve() as server:
        client = await server.client()
        url = "https://hooks.invalid/"

        created = await client.post("/v1/webhooks", json={"url": url, "events": ["run.failed"]})
        list_answer = await client.get("/v1/webhooks")

        assert created.status_code == 201
        assert json.loads(created.content)["secret"].startswith("whsec_")
        assert list_answer.json()["data"] == [created.json()["webhook"]]
        assert "whsec_" not in list_answer.text
        bad_answer = await client.post("/v1/webhooks", json={"url": url, "events": ["run.done"]})
        assert bad_answer.status_code == 422
