"""Webhooks: addresses that are sent signed events of an owner's runs, here or on a server.

Events say that a run has ended, or that tool calls wait for a client or an approval, by ids and
statuses only. What cannot be delivered is sent again for three days; a webhook that fails as long
is disabled. Without --server it is about the database of this machine.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from functools import partial

from msgspec import UNSET

from antiphon.api.operations import ListWebhookDeliveries, NewWebhook
from antiphon.cli.console import format_time, note, print_json, print_list, take
from antiphon.cli.flags import CLIENT, add_actions, parse_number
from antiphon.client.async_client import AsyncClient
from antiphon.settings.loading import LoadedSettings
from antiphon.types.runs import DAY
from antiphon.types.terminal_safe import clean
from antiphon.types.webhooks import EVENT_TYPES, Webhook, WebhookDelivery

FLAGS = ("database", "redis", "webhook_hosts", *CLIENT)
PAGE = 100
MOST = 100_000  # deliveries of one list
NO_WEBHOOKS = "There is no webhook. `antiphon webhooks add URL` creates one."
NO_DELIVERIES = "Nothing was sent yet. `antiphon webhooks test ID` sends a test event."
HEAD = ("id", "url", "events", "state", "since", "description")
DELIVERY_HEAD = ("event", "type", "run", "status", "tries", "code", "last", "next", "error")


ACTIONS = {
    "list": "list the webhooks",
    "add": "create a webhook, and print its secret this once",
    "change": "change a webhook",
    "enable": "send events again, first those that wait",
    "disable": "send no more events",
    "remove": "delete a webhook with its deliveries",
    "rotate": "replace the secret, and print the new one this once",
    "test": "send an event of type webhook.test",
    "deliveries": "list what was sent or waits, the newest first",
    "resend": "send a delivery again",
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    of = add_actions(parser, flags, ACTIONS)
    of["add"].add_argument(
        "url", help="https at a public host, or a host of the setting webhook_hosts"
    )
    for name in ACTIONS:
        if name not in ("list", "add"):
            of[name].add_argument("id", help="the webhook, as in `antiphon webhooks list`")
        of[name].add_argument(
            "--owner", metavar="OWNER", help="act for this owner; on a server with an admin key"
        )
        if name in ("list", "add", "rotate", "deliveries"):
            of[name].add_argument("--json", action="store_true", help="as JSON")
    of["change"].add_argument("--url", help="the new URL")
    for name in ("add", "change"):
        of[name].add_argument(
            "--event",
            action="append",
            choices=EVENT_TYPES,
            metavar="TYPE",
            help=f"a type to send, by default all; can be repeated: {', '.join(EVENT_TYPES)}",
        )
        of[name].add_argument("--description", metavar="TEXT", help="what it is for")
    of["rotate"].add_argument(
        "--keep-old",
        type=int,
        default=DAY,
        metavar="SECONDS",
        help="sign with the old secret too for so long, by default a day; 0 ends it at once",
    )
    _delivery_arguments(of["deliveries"])
    of["resend"].add_argument("event", help="the event, as in `antiphon webhooks deliveries ID`")


def _delivery_arguments(deliveries: ArgumentParser) -> None:
    deliveries.add_argument(
        "--status", choices=("pending", "delivered", "failed"), help="only these"
    )
    deliveries.add_argument(
        "--limit",
        type=partial(parse_number, MOST),
        default=20,
        metavar="N",
        help="the maximum number, 20 by default",
    )


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action here, or on the server of the settings."""
    asyncio.run(_run(args, loaded))
    return 0


async def _run(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as own:
        client = own.on_behalf_of(args.owner) if args.owner else own
        match args.action:
            case "list":
                webhooks = (await client.list_webhooks()).data
                print_list(webhooks, HEAD, _row, NO_WEBHOOKS, as_json=args.json)
            case "add":
                created = await client.create_webhook(
                    args.url, tuple(args.event or ()), args.description or ""
                )
                _print_secret(created, as_json=args.json)
                note(f"{created.webhook.id} is sent events, signed with the secret above.")
            case "rotate":
                rotated = await client.rotate_webhook_secret(args.id, keep_old_for=args.keep_old)
                _print_secret(rotated, as_json=args.json)
                until = format_time(rotated.webhook.old_secret_until)
                note(f"The old secret is valid until {until}." if until else "The old one is void.")
            case "change":
                changed = await client.update_webhook(
                    args.id,
                    url=UNSET if args.url is None else args.url,
                    events=UNSET if args.event is None else tuple(args.event),
                    description=UNSET if args.description is None else args.description,
                )
                note(f"{changed.id} is changed.")
            case "enable" | "disable":
                changed = await client.update_webhook(args.id, enabled=args.action == "enable")
                note(f"{changed.id} is {_state(changed)}.")
            case "remove":
                await client.delete_webhook(args.id)
                note(f"{args.id} is gone, with its deliveries.")
            case "test":
                sent = await client.send_test_event(args.id)
                note(f"{sent.id} waits to be sent: `antiphon webhooks deliveries {args.id}`.")
            case "deliveries":
                limit = min(PAGE, args.limit)
                listing = ListWebhookDeliveries(args.id, args.status, limit)
                found = await take(client.paginate(listing), args.limit)
                print_list(found, DELIVERY_HEAD, _delivery_row, NO_DELIVERIES, as_json=args.json)
            case _:
                await client.resend_webhook_delivery(args.id, args.event)
                note(f"{args.event} waits to be sent again.")


def _print_secret(created: NewWebhook, *, as_json: bool) -> None:
    if as_json:
        print_json(created)
    else:
        print(clean(created.secret))


def _row(webhook: Webhook) -> tuple[str, ...]:
    return (
        webhook.id,
        webhook.url,
        " ".join(webhook.events) or "all",
        _state(webhook),
        format_time(webhook.created_at),
        webhook.description,
    )


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"disabled ({webhook.disabled_reason})"
    if webhook.failing_since is not None:
        return f"failing since {format_time(webhook.failing_since)}"
    return "enabled"


def _delivery_row(delivery: WebhookDelivery) -> tuple[str, ...]:
    return (
        delivery.id,
        delivery.type,
        delivery.run_id,
        delivery.status,
        str(delivery.attempts),
        str(delivery.status_code or ""),
        format_time(delivery.attempted_at),
        format_time(delivery.next_attempt_at),
        delivery.error or "",
    )
