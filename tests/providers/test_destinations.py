"""Destinations of runs: programs with the same destination, and differences that make another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from antiphon.providers.catalog import Catalog
from antiphon.providers.endpoints import vendor_destination
from antiphon.settings.settings import Settings
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.runs import Destination

FAR = {"base_url": "https://far.example/v1", "key_env": "FAR_KEY"}
KEY = {"FAR_KEY": "sk-1", "OPENAI_API_KEY": "sk-1"}

Program = tuple[Mapping[str, Any], Mapping[str, str]]


def make_catalog(program: Program, **options: Any) -> Catalog:
    settings, environ = program
    return Catalog(Settings(**settings), environ, **options)


async def resolve_destination(program: Program, model: str) -> Destination:
    destination = (await make_catalog(program).open(model)).destination
    assert destination is not None
    assert Destination.parse(destination.text) == destination
    return destination


SAME: Mapping[str, tuple[str, Program, Program]] = {
    "another key": ("openai:m", ({}, KEY), ({}, KEY | {"OPENAI_API_KEY": "sk-2"})),
    "another default model": ("openai:m", ({"model": "openai:m"}, KEY), ({"model": "demo"}, KEY)),
    "a slash at the end": (
        "m",
        ({"base_url": "http://far.example/v1"}, {}),
        ({"base_url": "http://far.example/v1/"}, {}),
    ),
    "other deadlines": (
        "far:m",
        ({"providers": {"far": FAR}}, KEY),
        ({"providers": {"far": FAR | {"chunk_timeout": 3.0}}}, KEY),
    ),
    "nothing leaves the machine": ("demo", ({}, {}), ({"base_url": "http://far.example"}, {})),
}

OTHER: Mapping[str, tuple[str, Program, Program]] = {
    "a base URL": ("openai:m", ({}, KEY), ({"base_url": "http://far.example/v1"}, KEY)),
    "another base URL": (
        "m",
        ({"base_url": "http://far.example/v1"}, {}),
        ({"base_url": "http://far.example/v2"}, {}),
    ),
    "no base URL": ("m", ({"base_url": "http://far.example/v1"}, {}), ({}, KEY)),
    "another server of the name": (
        "far:m",
        ({"providers": {"far": FAR}}, KEY),
        ({"providers": {"far": FAR | {"base_url": "https://near.example/v1"}}}, KEY),
    ),
    "no server of the name": ("far:m", ({"providers": {"far": FAR}}, KEY), ({}, KEY)),
    "no key": ("openai:m", ({}, KEY), ({}, {})),
    "no key for a table": (
        "far:m",
        ({"providers": {"far": FAR}}, KEY),
        ({"providers": {"far": FAR}}, {}),
    ),
    "an address in a variable": (
        "far:m",
        ({"providers": {"far": {"base_url": "https://{FAR_HOST}/v1"}}}, {"FAR_HOST": "a.example"}),
        ({"providers": {"far": {"base_url": "https://{FAR_HOST}/v1"}}}, {"FAR_HOST": "b.example"}),
    ),
    "no variable with the address": (
        "far:m",
        ({"providers": {"far": {"base_url": "https://{FAR_HOST}/v1"}}}, {"FAR_HOST": "a.example"}),
        ({"providers": {"far": {"base_url": "https://{FAR_HOST}/v1"}}}, {}),
    ),
    "a vendor at another address": (
        "anthropic:m",
        ({}, {"ANTHROPIC_API_KEY": "k"}),
        ({}, {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "https://far.example"}),
    ),
}


@pytest.mark.parametrize("case", SAME.values(), ids=SAME)
async def test_it_is_served_alike(case: tuple[str, Program, Program]) -> None:
    model, first_program, other_program = case

    assert make_catalog(other_program).serves(await resolve_destination(first_program, model))


@pytest.mark.parametrize("case", OTHER.values(), ids=OTHER)
async def test_it_is_not_served(case: tuple[str, Program, Program]) -> None:
    model, first_program, other_program = case
    destination = await resolve_destination(first_program, model)

    assert not make_catalog(other_program).serves(destination)
    assert make_catalog(first_program).serves(destination)


@pytest.mark.parametrize(
    ("program", "model"),
    [
        (({}, {}), "demo"),
        (({"base_url": "http://far.example/v1"}, {}), "m"),
        (({"base_url": "http://far.example/v1"}, {}), "unknown:m"),
        (({"base_url": "http://far.example/v1"}, KEY), "openai:m"),
        (({"providers": {"far": FAR}}, KEY), "far:m"),
        (({}, {"ANTHROPIC_API_KEY": "k"}), "anthropic:m"),
    ],
)
async def test_who_is_asked_for_a_model_is_where_the_words_of_its_runs_go(
    program: Program, model: str
) -> None:
    destination = await resolve_destination(program, model)

    assert make_catalog(program).find_server(model) == (destination.provider, destination.address)


def test_a_region_is_another_place() -> None:
    near, far = ({"AWS_REGION": region, "AWS_SECRET": "k"} for region in ("eu-1", "us-1"))

    assert vendor_destination("bedrock", near) != vendor_destination("bedrock", far)
    assert vendor_destination("bedrock", near) == vendor_destination(
        "bedrock", near | {"AWS_SECRET": "another"}
    )
    assert vendor_destination("gemini", near) == vendor_destination("gemini", far)


async def test_an_owners_key_is_served_where_it_can_be_opened_and_no_other_is_needed() -> None:
    async def keys_of(owner: str, provider: str) -> OwnerProviderKey | None:
        return OwnerProviderKey(key="sk-own") if owner == "ann" else None

    def catalog_with_keys(*names: str) -> Catalog:
        return make_catalog(({}, {}), keys_of=keys_of, fingerprints=lambda: names)

    destination = (await catalog_with_keys("new", "old").open("openai:m", "ann")).destination
    assert destination is not None
    assert destination.seal == "new"
    assert catalog_with_keys("newest", "new").serves(destination)
    assert not catalog_with_keys("another").serves(destination)
    assert not make_catalog(({}, KEY)).serves(destination)


async def test_a_mark_tells_neither_key_nor_path() -> None:
    settings = {
        "base_url": "https://gate.example:8443/token-canary/v1",
        "provider_key": "sk-canary",
    }

    destination = await resolve_destination((settings, {}), "m")

    assert destination.address == "https://gate.example:8443"
    assert destination.name == "gate.example:8443"
    assert "canary" not in destination.text
