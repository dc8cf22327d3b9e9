"""Check the installation: what works, what is missing, and what to do about it.

Nothing is created or changed; a database is not migrated. Keys are shown by the names of their
variables, never by their values. Providers are asked for their list of models if the settings name
them: by the base URL, or by tables with an address and the model in use. Exit code 1 if something
is broken.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import platform
import shlex
import socket
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

import antiphon
from antiphon.cli import trust
from antiphon.cli.console import print_json
from antiphon.cli.flags import CLIENT, RUNTIME
from antiphon.client.formatting import count_noun
from antiphon.client.outcome import hint_for
from antiphon.client.sync_client import Client
from antiphon.mcp import startup
from antiphon.ports import Store
from antiphon.runtime.runtime import count_undecryptable_keys, open_catalog, open_store
from antiphon.runtime.sweeper import UNCLAIMED_SECONDS
from antiphon.runtime.wiring import check_wakeups, read_schema
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE, Settings, database_file, mask_value
from antiphon.settings.trust import FolderFile
from antiphon.tools.hooks import find_hook_program
from antiphon.types.addresses import is_loopback
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
)
from antiphon.types.runs import Destination
from antiphon.types.schedules import StoredSchedule
from antiphon.types.terminal_safe import clean
from antiphon.wires.openai.hosted_tools import parse_hosted_tools

FLAGS = (*RUNTIME, *CLIENT, "config", "host", "port")
HEALTH_SECONDS = 2.0
MOST_WAITING = 1000  # runs that are looked at
OVERDUE_MS = 60_000  # from the time of a schedule until it is late
_NAMED = 3  # of them that are named
_SHOW = "`antiphon schedules show ID` says why."
_SHOW_AND_RESUME = f"{_SHOW} `antiphon schedules resume ID` gives it the rights of your key."
_START = (
    f"They start once a server runs that uses that address, and the run before has ended. {_SHOW}"
)
_NO_WAKE_UPS = "Look whether it runs, and whether a pooler is in between; docs/how-to/redis.md."
_SEALED_OTHERWISE = "Set secret_key, or old_secret_keys, to what they were sealed with."
_NO_LIST = "If it gives no replies either: most base URLs end in /v1; its documentation says."
_ANOTHER_PLACE = "Set --database or ANTIPHON_DATABASE to a place that can be written."


class CheckResult(msgspec.Struct, frozen=True):
    """Result of one check. `to_do` is the remedy if it is not `ok`."""

    about: str
    state: Literal["ok", "note", "broken"]
    found: str
    to_do: str | None = None


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the output format."""
    parser.add_argument("--json", action="store_true", help="as one JSON list")


def decide(args: Namespace, file: FolderFile) -> bool:
    """Continue without the file: a finding says so."""
    return False


def report_bad_settings(args: Namespace, problem: BadSettings) -> int:
    """Print the finding about settings that cannot be loaded; return 1."""
    unchecked = "The other checks need the settings, and run once they can be loaded."
    found = _settings_finding(problem)
    to_do = f"{found.to_do.rstrip('.')}. {unchecked}" if found.to_do else unchecked
    return _print_findings(args, [_about_program(), msgspec.structs.replace(found, to_do=to_do)])


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run all checks and print the findings; return 1 if something is broken."""
    # The rows say what a log would, which without a handler goes to stderr.
    logging.getLogger("antiphon").addHandler(logging.NullHandler())
    return _print_findings(args, asyncio.run(_run_checks(loaded)))


def _print_findings(args: Namespace, findings: Sequence[CheckResult]) -> int:
    if args.json:
        print_json(findings)
    else:
        for each in findings:
            print(clean(f"{each.state:<8}{each.about:<10}{each.found}"))
            if each.to_do:
                print(clean(f"{'':<18}{each.to_do}"))
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def rows(loaded: LoadedSettings) -> Sequence[tuple[str, str, str, str]]:
    """Return state, subject, finding and remedy of each check; for a thread without event loop."""
    findings = asyncio.run(_run_checks(loaded, in_chat=True))
    return [(each.state, each.about, each.found, each.to_do or "") for each in findings]


async def _run_checks(loaded: LoadedSettings, *, in_chat: bool = False) -> list[CheckResult]:
    settings = loaded.settings
    return [
        _about_program(),
        *_check_settings(loaded, in_chat=in_chat),
        *[finding async for finding in _check_models(settings)],
        *[finding async for finding in _check_database(settings)],
        *[finding async for finding in _check_wake_ups(settings)],
        _check_port(settings),
        *_check_mcp_servers(settings),
        *_check_hooks(settings),
        *([await asyncio.to_thread(_check_server, settings)] if settings.server else []),
    ]


def _about_program() -> CheckResult:
    program = (antiphon.__version__, f"Python {platform.python_version()}", platform.platform())
    return CheckResult("antiphon", "ok", ", ".join(program))


def _check_settings(loaded: LoadedSettings, *, in_chat: bool) -> Iterator[CheckResult]:
    places = sorted({origin for origin in loaded.origins.values() if origin != "default"})
    yield CheckResult("settings", "ok", ", ".join(places) or "all by default")
    if (file := loaded.folder_file) is not None:
        if loaded.counted:
            yield CheckResult("settings", "ok", trust.explain_counted(file))
        elif in_chat:  # it has started, because the person there continued without the file
            yield CheckResult("settings", "note", trust.explain_ignored(file))
        else:
            yield _check_ignored_file(file)
    known = {setting.variable for setting in TABLE.values()}
    for name in sorted(os.environ):
        if name.startswith("ANTIPHON_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            to_do = f"Did you mean {near[0]}?" if near else "`antiphon config` shows all settings."
            yield CheckResult("settings", "note", f"{name} is set and means nothing", to_do)


def _check_ignored_file(file: FolderFile) -> CheckResult:
    """Return the finding about a file of the folder on which other commands stop."""
    if file.fault is not None:
        return _settings_finding(file.fault)
    found = (
        f"{file.path.name} is not trusted (it sets {', '.join(file.wants)}),"
        " so ask, chat and serve stop here"
    )
    to_do = f"`antiphon trust {shlex.quote(str(file.path))}` shows it and asks."
    return CheckResult("settings", "broken", found, to_do)


def _settings_finding(problem: BadSettings) -> CheckResult:
    """Return the finding about a bad setting, with the value that was given."""
    finding = _broken_finding("settings", problem)
    received = problem.details.get("received")
    if received is None or received in finding.found:
        return finding
    return msgspec.structs.replace(finding, found=f"{finding.found.rstrip('.')}: got {received}")


async def _check_models(settings: Settings) -> AsyncIterator[CheckResult]:
    try:
        async with open_catalog(settings) as catalog:
            names = ", ".join(catalog.keys())
            yield CheckResult("keys", "ok", names or "no provider's key is set")
            try:
                choice = await catalog.choose()
                yield CheckResult("model", "ok", f"{choice.model}: {choice.why}")
            except BadSettings as problem:
                yield _broken_finding("model", problem)
                if settings.base_url:
                    return  # what the base URL lists has been asked for
            for listing in await catalog.list_configured():
                yield _check_provider(listing.where, len(listing.names), listing.error)
    except AntiphonError as problem:
        yield _broken_finding("model", problem)


def _check_provider(where: str, listed: int, error: AntiphonError | None) -> CheckResult:
    """Check the providers that the settings name, without a request that costs money.

    Some servers give replies but have no list of models, so an error of the list is only noted.
    """
    if error is None:
        return CheckResult("provider", "ok", f"{where} lists {count_noun(listed, 'model')}")
    refused = isinstance(error, ProviderRejected | ProviderProtocol | ProviderRateLimited)
    return CheckResult(
        "provider",
        "note" if refused else "broken",
        f"{where} does not list its models: {error.message}",
        _NO_LIST if refused else error.details.get("hint") or hint_for(error.code),
    )


async def _check_database(settings: Settings) -> AsyncIterator[CheckResult]:
    file = database_file(settings)
    where = str(file or mask_value(TABLE["database"], settings.database))
    if file is not None and not file.exists():
        yield _check_new_file(file)
        yield _check_access(0, settings)
        return
    try:
        form = await read_schema(settings)
        if form is not None and form.found != form.known:
            mismatch = f"{where} has form {form.found}; this version's is {form.known}"
            if form.found > form.known:
                to_do = "Upgrade Antiphon, or use another database."
                yield CheckResult("database", "broken", mismatch, to_do)
            else:
                to_do = "The next start brings it up, or `antiphon migrate`."
                yield CheckResult("database", "note", mismatch, to_do)
            return
        async with open_store(settings) as store:
            keys = [key for key in await store.keys() if key.revoked_at is None]
            sealed = await _check_encrypted_keys(settings, store)
            waiting = await _find_waiting_runs(store)
            late = await _find_late_schedules(settings, store)
        formed = f"{where}: answers, has this version's form" if form else where
        yield _check_writable(file) if file else CheckResult("database", "ok", formed)
        yield _check_access(len(keys), settings)
        for finding in (*sealed, *waiting, *late):
            yield finding
    except AntiphonError as problem:
        yield _broken_finding("database", problem)


async def _check_wake_ups(settings: Settings) -> AsyncIterator[CheckResult]:
    by = mask_value(TABLE["redis"], settings.redis) or "PostgreSQL"
    try:
        match await check_wakeups(settings):
            case True:
                yield CheckResult("wake-ups", "ok", f"come through {by}")
            case False:
                found = f"do not come through {by}: streams come in lumps, each second"
                yield CheckResult("wake-ups", "note", found, _NO_WAKE_UPS)
            case None:
                pass
    except AntiphonError as problem:
        yield _broken_finding("wake-ups", problem)


async def _check_encrypted_keys(settings: Settings, store: Store) -> Sequence[CheckResult]:
    """Check that owners' provider keys and the secrets of their webhooks can be decrypted.

    The key file beside the database is not looked for, because that would create it.
    """
    count = len(await store.provider_keys(None)) + len(await store.webhooks(None))
    if settings.secret_key is None and (count == 0 or database_file(settings)):
        return []
    try:
        lost = await count_undecryptable_keys(settings, store)
    except AntiphonError as problem:
        return [_broken_finding("secrets", problem)]
    if lost:
        found = f"{lost} of {count} keys at providers and secrets of webhooks cannot be opened"
        return [CheckResult("secrets", "broken", found, _SEALED_OTHERWISE)]
    return [CheckResult("secrets", "ok", "secret_key opens what it has to")]


async def _find_waiting_runs(store: Store) -> Sequence[CheckResult]:
    """Return the runs that no worker has claimed, by the provider that they wait for."""
    before = await store.now() - int(UNCLAIMED_SECONDS * 1000)
    found: dict[str, list[str]] = {}
    run_ids = await store.find_unclaimed_runs(lambda destination: False, before, MOST_WAITING)
    leases = await store.run_leases(run_ids)
    for run_id in run_ids:
        if run_id in leases:
            found.setdefault(_describe_destination(leases[run_id].destination), []).append(run_id)
    return [
        CheckResult(
            "runs",
            "note",
            f"{count_noun(len(runs), 'run')} wait{'s' if len(runs) == 1 else ''} for {place}:"
            f" {_name_some(runs)}",
            "They continue when a program runs that uses that address."
            " `antiphon threads show` shows one.",
        )
        for place, runs in found.items()
    ]


async def _find_late_schedules(settings: Settings, store: Store) -> Sequence[CheckResult]:
    """Return the schedules that failed, or were due and have not started, by the reason."""
    before = await store.now() - OVERDUE_MS
    found: dict[tuple[str, str], list[str]] = {}
    for stored in await store.schedules(None):
        if (why := _explain_late(stored, before, settings)) is not None:
            found.setdefault(why, []).append(stored.schedule.id)
    return [
        CheckResult(
            "schedules",
            "note",
            f"{count_noun(len(schedules), 'schedule')} {about}: {_name_some(schedules)}",
            to_do,
        )
        for (about, to_do), schedules in found.items()
    ]


def _explain_late(
    stored: StoredSchedule, before: int, settings: Settings
) -> tuple[str, str] | None:
    """Return what is wrong with a schedule, and the remedy; None if nothing is."""
    schedule = stored.schedule
    if schedule.pause_reason in ("failing", "unauthorized"):
        return f"paused by itself ({schedule.pause_reason})", _SHOW_AND_RESUME
    if schedule.failures:
        return "failed at the last time", _SHOW
    if schedule.next_at is None or schedule.next_at >= before:
        return None
    if not settings.schedules:
        return "due, and schedules are off", "Set schedules to true where a server runs."
    return f"due, for {_describe_destination(stored.destination)}", _START


def _name_some(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:_NAMED])}{' ...' if len(ids) > _NAMED else ''}"


def _describe_destination(text: str) -> str:
    try:
        destination = Destination.parse(text)
    except msgspec.DecodeError:
        return "a later version of Antiphon"
    if destination is None:
        return "a program that asks for them (an earlier version began them)"
    where = f" at {destination.address}" if destination.address and destination.provider else ""
    return f"{destination.name}{where}"


def _check_writable(file: Path) -> CheckResult:
    if not os.access(file, os.W_OK):
        return CheckResult("database", "broken", f"{file} cannot be written", _ANOTHER_PLACE)
    size = f"{file.stat().st_size / 1e6:.1f} MB"
    return CheckResult("database", "ok", f"{file}: can be written, has this version's form, {size}")


def _check_new_file(file: Path) -> CheckResult:
    folder = next(parent for parent in file.parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK):
        return CheckResult("database", "ok", f"{file}: made when it is first needed")
    return CheckResult("database", "broken", f"{file}: {folder} cannot be written", _ANOTHER_PLACE)


def _check_access(keys: int, settings: Settings) -> CheckResult:
    if keys:
        return CheckResult("access", "ok", f"by {keys} key{'s' if keys > 1 else ''}")
    if is_loopback(settings.host):
        return CheckResult("access", "ok", "no keys, so a server answers this machine only")
    found = f"no keys, so a server will not listen on {settings.host}"
    return CheckResult("access", "broken", found, "`antiphon keys create` makes a key.")


def _check_port(settings: Settings) -> CheckResult:
    where = f"{settings.port} of {settings.host}"
    try:
        (family, *_, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if _is_answering(settings):
            return CheckResult("port", "ok", f"{where}: a server is running there")
        found = f"{where} cannot be listened on: {error.strerror or error}"
        return CheckResult(
            "port", "note", found, "`antiphon serve --port 0` takes any that is free."
        )
    return CheckResult("port", "ok", f"{where} is free")


def _is_answering(settings: Settings) -> bool:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        with urllib.request.urlopen(
            f"http://{host}:{settings.port}/healthz", timeout=HEALTH_SECONDS
        ) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _check_server(settings: Settings) -> CheckResult:
    try:
        with Client(settings=settings) as client:
            client.list_models()
    except AntiphonError as problem:
        return _broken_finding("server", problem)
    return CheckResult("server", "ok", f"{mask_value(TABLE['server'], settings.server)} answers")


def _check_mcp_servers(settings: Settings) -> Iterator[CheckResult]:
    """Check the configured MCP servers without starting them."""
    try:
        usable = startup.resolve_servers(settings)
    except AntiphonError as problem:
        yield _broken_finding("mcp", problem)
        return
    names = ", ".join(config.name for config in usable.enabled)
    yield CheckResult("mcp", "ok", f"servers: {names}" if names else "no server is written down")
    if names and not startup.has_extra():
        found = "servers cannot be started: an extra is not installed"
        yield CheckResult("mcp", "note", found, install_hint("mcp"))
    for unusable in usable.problems:
        yield CheckResult("mcp", "note", f"{unusable.server} cannot be used: {unusable.why}")
    for each in usable.unapproved:
        found = each.problem or f"{each.file} starts nothing yet: {', '.join(each.servers)}"
        to_do = (
            None
            if each.problem
            else f"`antiphon trust {shlex.quote(each.file.name)}` shows it and asks."
        )
        yield CheckResult("mcp", "note", found, to_do)
    backend = {config.name for config in usable.enabled if config.backend}
    yield from _check_hosted_tools(settings, backend)


def _check_hosted_tools(settings: Settings, backend: Collection[str]) -> Iterator[CheckResult]:
    """Check that runs may use the servers of the setting `hosted_tools`."""
    for kind, target in parse_hosted_tools(settings.hosted_tools).items():
        where = f"{kind} is done by {target.server}" + (f", {target.tool}" if target.tool else "")
        if settings.backend_mcp == "off":
            to_do = "Set backend_mcp to configured."
            yield CheckResult("mcp", "broken", f"{where}; runs may use no MCP servers", to_do)
        elif target.server not in backend:
            to_do = "Write it down, with `backend` set to true, or map another one."
            yield CheckResult("mcp", "broken", f"{where}, which no run may use", to_do)
        else:
            yield CheckResult("mcp", "ok", where)


def _check_hooks(settings: Settings) -> Iterator[CheckResult]:
    """Check that the programs of the hooks are there; none is started."""
    for hook in settings.hooks:
        what = f"{hook.when} {', '.join(hook.tools)}: {hook.name}"
        if find_hook_program(hook, os.environ) is not None:
            yield CheckResult("hooks", "ok", what)
            continue
        found = f"{what}: {hook.command[0]} is not found, or cannot be executed"
        effect = "these tools are not called" if hook.when == "before" else "it does nothing"
        to_do = f"Until it is there, {effect}. Relative paths start at {hook.folder}."
        yield CheckResult("hooks", "broken", found, to_do)


def _broken_finding(about: str, problem: AntiphonError) -> CheckResult:
    details = problem.details
    to_do = details.get("hint") or (
        f"Wanted: {details['expected']}" if "expected" in details else None
    )
    return CheckResult(about, "broken", problem.message, to_do)
