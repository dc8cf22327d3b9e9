"""Antiphon's MCP client for the conformance suite of the Model Context Protocol.

The suite starts a server for each scenario and runs this program with its URL. The program executes
the scenario MCP_CONFORMANCE_SCENARIO with Antiphon's own toolbox and logins, without the MCP SDK.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from msgspec.structs import replace

from antiphon.mcp.client.authorization import StoredLogins
from antiphon.mcp.client.client_features import (
    Elicitation,
    ElicitationAnswer,
    FormElicitation,
    NoClientFeatures,
    SamplingReply,
    SamplingRequest,
)
from antiphon.mcp.client.oauth import create_auth
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import OAuth, ServerConfig
from antiphon.types.messages import Tool, ToolCall

READY_SECONDS = 50.0
"""The suite allows 60, and runs all scenarios at the same time."""
DESCRIBED_AT = "https://conformance-test.local/client-metadata.json"
"""The URL of the client metadata document that the suite expects."""


class AcceptingHost(NoClientFeatures):
    """Host that accepts every question, and every form with its defaults."""

    asks = True
    samples = True

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        if not isinstance(question, FormElicitation):
            return ElicitationAnswer("accept")
        values = {
            field.name: True if field.default is None and field.kind == "boolean" else field.default
            for field in question.form.fields
        }
        return ElicitationAnswer(
            "accept", {name: each for name, each in values.items() if each is not None}
        )

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        return SamplingReply(text="", model="none")


class Browser:
    """A browser that is already logged in: it is redirected at once to the client's page."""

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            response = await browser.get(url)
            if response.is_redirect:
                await browser.get(response.headers["location"])

    async def read_pasted_url(self) -> str:
        return await asyncio.Future()


class Suite:
    """A server of the suite, and calls of its tools."""

    def __init__(self, servers: AsyncMcpServerPool) -> None:
        self._servers = servers
        self._number = 0

    def tools(self) -> list[Tool]:
        return list(self._servers.tools())

    async def call(self, own_name: str, arguments: dict[str, Any]) -> None:
        self._number += 1
        tool = next((each for each in self.tools() if each.own_name == own_name), None)
        if tool is None:
            print(f"{own_name} is not offered", file=sys.stderr)
            return
        call = ToolCall(f"call_{self._number}", tool.spec.name, json.dumps(arguments))
        result = await self._servers.call(call)
        print(f"{own_name}: {result.output} {result.fault or ''}", file=sys.stderr)


async def lists(suite: Suite, context: dict[str, Any]) -> None:
    """Do nothing: the tools were already listed."""


async def adds(suite: Suite, context: dict[str, Any]) -> None:
    await suite.call("add_numbers", {"a": 5, "b": 3})


def calls(*names: str) -> Callable[[Suite, dict[str, Any]], Awaitable[None]]:
    async def in_order(suite: Suite, context: dict[str, Any]) -> None:
        for name in names:
            await suite.call(name, {})

    return in_order


async def every_tool(suite: Suite, context: dict[str, Any]) -> None:
    by_type: dict[str, Any] = {"string": "x", "integer": 0, "number": 0, "boolean": False}
    for tool in suite.tools():
        schema = tool.spec.parameters
        properties = schema.get("properties", {})
        arguments = {
            name: by_type.get(properties.get(name, {}).get("type"), "x")
            for name in schema.get("required", ())
        }
        await suite.call(tool.own_name, arguments)


async def requested_calls(suite: Suite, context: dict[str, Any]) -> None:
    for call in context.get("toolCalls", ()):
        await suite.call(call["name"], call.get("arguments") or {})


async def echoes_a_schema(suite: Suite, context: dict[str, Any]) -> None:
    for tool in suite.tools():
        if tool.own_name == "json_schema_2020_12_tool":
            await suite.call("json_schema_echo", {"schema": tool.spec.parameters})


SCENARIOS: dict[str, Callable[[Suite, dict[str, Any]], Awaitable[None]]] = {
    "tools_call": adds,
    "request-metadata": adds,
    "http-standard-headers": adds,
    "sse-retry": calls("test_reconnection"),
    "elicitation-sep1034-client-defaults": calls("test_client_elicitation_defaults"),
    "sep-2322-client-request-state": calls(
        "test_mrtr_echo_state",
        "test_mrtr_unrelated",
        "test_mrtr_no_state",
        "test_mrtr_no_result_type",
    ),
    "http-invalid-tool-headers": every_tool,
    "http-custom-headers": requested_calls,
    "json-schema-2020-12-preservation": echoes_a_schema,
}
"""Steps of a scenario after listing the tools; the default is `every_tool` with a login."""


async def issuer_of(url: str) -> str:
    """Return the authorization server, which a user would know and the suite does not name."""
    resource = httpx2.URL(url)
    async with httpx2.AsyncClient() as client:
        metadata = await client.get(
            resource.copy_with(path=f"/.well-known/oauth-protected-resource{resource.path}")
        )
        return str(metadata.json()["authorization_servers"][0])


async def login(scenario: str, url: str, context: dict[str, Any]) -> OAuth:
    """Return the configuration of a user for this scenario."""
    credentials = {
        name: context[name] for name in ("client_id", "client_secret") if name in context
    }
    match scenario:
        case "auth/pre-registration":
            return OAuth(**credentials)
        case "auth/client-credentials-basic" | "auth/client-credentials-jwt":
            return OAuth(
                grant="client_credentials",
                issuer=await issuer_of(url),
                private_key=context.get("private_key_pem", ""),
                algorithm=context.get("signing_algorithm", "ES256"),
                **credentials,
            )
        case _:
            return OAuth(client_metadata_url=DESCRIBED_AT)


async def main(scenario: str, url: str, context: dict[str, Any], folder: Path) -> int:
    config = ServerConfig(name="suite", transport="http", url=url, connect_timeout=READY_SECONDS)
    auth = None
    if scenario.startswith("auth/"):
        config = replace(config, oauth=await login(scenario, url, context))
        auth = partial(create_auth, logins=StoredLogins(folder / "logins.json"), person=Browser())
    act = SCENARIOS.get(scenario, every_tool if auth else lists)
    async with AsyncMcpServerPool(
        [config], AcceptingHost(), roots=[folder], auth=auth, delays=()
    ) as servers:
        missing = await servers.ready(READY_SECONDS)
        for state in missing:
            print(f"{state.server} is {state.status}: {state.why}", file=sys.stderr)
        if missing:
            return 1
        await act(Suite(servers), context)
    return 0


def run() -> int:
    """Execute the scenario of the environment against the URL in the last argument."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with TemporaryDirectory() as folder:
        return asyncio.run(
            main(
                os.environ["MCP_CONFORMANCE_SCENARIO"],
                sys.argv[-1],
                json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"),
                Path(folder),
            )
        )
