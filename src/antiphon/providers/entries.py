"""The `[providers.NAME]` tables of the settings: joined to what is known, or refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar, cast, get_args

import msgspec

from antiphon.errors import BadSettings
from antiphon.providers.offers import Price
from antiphon.providers.reply import Quirks
from antiphon.providers.servers import SERVERS, Lack, Server, Terms
from antiphon.providers.vendors import VENDORS, Vendor

Table = Mapping[str, Any]
T = TypeVar("T", bound=Terms)


def servers(tables: Mapping[str, Table]) -> dict[str, Server]:
    """Every server, yours first: a table that names a known one changes what it gives."""
    own = {
        name: _server(name, table) for name, table in tables.items() if not _of_vendor(name, table)
    }
    return own | {name: server for name, server in SERVERS.items() if name not in own}


def vendors(tables: Mapping[str, Table]) -> dict[str, Vendor]:
    """Every vendor. A table without an address changes its terms; with one it is a server's."""
    changed = {
        name: msgspec.structs.replace(VENDORS[name], **_given(name, table, Terms))
        for name, table in tables.items()
        if _of_vendor(name, table)
    }
    return VENDORS | changed


def _of_vendor(name: str, table: Table) -> bool:
    return name in VENDORS and "base_url" not in table


def _server(name: str, table: Table) -> Server:
    if name == "demo" or ":" in name or not name:
        raise BadSettings(
            f"[providers.{name}] can never be asked.",
            expected="a name that is not demo, without a colon",
            received=name,
        )
    known = SERVERS.get(name)
    if known is None and "base_url" not in table:
        _refuse_strangers(f"[providers.{name}]", table, Server.__struct_fields__)
        raise BadSettings(
            f"[providers.{name}] has no address, and is none of the known providers.",
            expected='base_url = "https://..."',
            hint=_near(name, [*SERVERS, *VENDORS]),
        )
    base: dict[str, Any] = msgspec.to_builtins(known) if known else {}
    return _converted(name, _joined(base, table), Server)


def _given(name: str, table: Table, kind: type[Terms]) -> dict[str, Any]:
    """What the table says, in its right types."""
    terms = _converted(name, table, kind)
    return {field: getattr(terms, field) for field in table}


def _joined(base: Table, table: Table) -> dict[str, Any]:
    """The table upon the known entry; its quirks, too, change only what they name."""
    joined = {**base, **table}
    if isinstance(quirks := table.get("quirks"), dict):
        joined["quirks"] = {**base.get("quirks", {}), **quirks}
    return joined


def _converted(name: str, table: Table, kind: type[T]) -> T:
    where = f"[providers.{name}]"
    _refuse_strangers(where, table, kind.__struct_fields__)
    if isinstance(quirks := table.get("quirks"), dict):
        named = map(str, cast("Table", quirks))
        _refuse_strangers(f"`quirks` of {where}", named, Quirks.__struct_fields__)
    if isinstance(lacks := table.get("lacks"), list):
        named = map(str, cast("list[object]", lacks))
        _refuse_strangers(f"`lacks` of {where}", named, get_args(Lack))
    if isinstance(prices := table.get("prices"), dict):
        for price in cast("dict[str, object]", prices).values():
            named = map(str, cast("Table", price) if isinstance(price, dict) else ())
            _refuse_strangers(f"`prices` of {where}", named, Price.__struct_fields__)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"{where} cannot be used: {error}.") from error


def _refuse_strangers(where: str, given: Iterable[str], known: Collection[str]) -> None:
    """A name that is not known was meant to say something: it is not passed over."""
    for name in given:
        if name not in known:
            raise BadSettings(
                f"{where} cannot be used: it knows no `{name}`.",
                expected=", ".join(known),
                received=name,
                hint=_near(name, known),
            )


def _near(name: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean `{near[0]}`?" if near else None
