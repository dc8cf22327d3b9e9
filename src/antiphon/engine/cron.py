"""Cron expressions: their parsing, and the times that they name in a time zone.

An expression has the five fields of crontab(5): minute, hour, day of the month, month, day of the
week. A time that the clocks skip occurs when they have gone forward; a time that comes twice occurs
the first time. An expression whose hours begin with a star follows the hours as they pass instead:
it leaves out the hour that is skipped, and occurs in both of the hour that comes twice.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise

import msgspec

from antiphon.types.errors import InvalidRequest

MAX_LENGTH = 256
HORIZON = timedelta(days=45 * 366)
"""Furthest time that is looked for: a 29 February that is a Monday may be 40 years away."""
MINUTES_A_DAY = 1440

SHORTHANDS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Field(msgspec.Struct, frozen=True):
    name: str
    least: int
    most: int
    words: Mapping[str, int] = {}


_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


class Cron(msgspec.Struct, frozen=True):
    """A parsed expression. Days of the week count from Sunday, 0.

    If `follows_hours`, its hours begin with a star. If `either_day`, a date matches by its day of
    the month or by its day of the week, else by both: so it is in crontab(5), where neither field
    begins with a star.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    follows_hours: bool
    either_day: bool

    def matches(self, day: date) -> bool:
        """Return whether it has times on this date."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either_day else of_month and of_week


def parse_cron(expression: str) -> Cron:
    """Return the parsed expression. Raises `InvalidRequest`, which names the wrong field."""
    text = expression.strip().lower()
    if text == "@reboot":
        raise _error("@reboot is no time.", expected="five fields, or @daily and the like")
    if text.startswith("@") and text not in SHORTHANDS:
        raise _error("There is no such shorthand.", expected=", ".join(SHORTHANDS), received=text)
    texts = SHORTHANDS.get(text, text).split()
    if len(texts) != len(_FIELDS) or len(expression) > MAX_LENGTH:
        raise _error(
            "A cron expression has five fields.",
            expected="minute hour day-of-month month day-of-week, as 30 8 * * mon-fri",
            received=f"{len(texts)} fields",
        )
    minutes, hours, days, months, weekdays = (
        _parse_field(field, text) for field, text in zip(_FIELDS, texts, strict=True)
    )
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        follows_hours=texts[1].startswith("*"),
        either_day=not texts[2].startswith("*") and not texts[4].startswith("*"),
    )


def _parse_field(field: _Field, text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        first, last = _parse_span(field, span, item)
        if slash and span != "*" and "-" not in span:
            raise _field_error(field, item, "a step of a range, as 0-30/10 or */10")
        every = _parse_number(field, step, item, 1, field.most + 1) if slash else 1
        found.update(range(first, last + 1, every))
    return frozenset(found)


def _parse_span(field: _Field, span: str, item: str) -> tuple[int, int]:
    if span == "*":
        return field.least, field.most - (field.most == 7)  # 7 is Sunday once more
    first_text, dash, last_text = span.partition("-")
    first = _parse_value(field, first_text, item)
    last = _parse_value(field, last_text, item) if dash else first
    if field.words is _DAYS and last == 0 < first:
        last = 7  # a week that ends on Sunday
    if last < first:
        raise _field_error(field, item, "a range from the lower to the higher value")
    return first, last


def _parse_value(field: _Field, text: str, item: str) -> int:
    if text in field.words:
        return field.words[text]
    return _parse_number(field, text, item, field.least, field.most)


def _parse_number(field: _Field, text: str, item: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and least <= int(text) <= most):
        words = f", or {', '.join(field.words)}" if field.words else ""
        raise _field_error(field, item, f"{least} to {most}{words}")
    return int(text)


def _field_error(field: _Field, item: str, expected: str) -> InvalidRequest:
    return _error(f"The {field.name} cannot be read.", expected=expected, received=item)


def _error(message: str, expected: str, received: str | None = None) -> InvalidRequest:
    details = {} if received is None else {"received": ascii(received[:64])}
    return InvalidRequest(message, expected=expected, where="$.cron", **details)


# Times.


def next_after(cron: Cron, instant: int, zone: tzinfo) -> int | None:
    """Return the first time after an instant (ms); None if it has none in the next 45 years."""
    start = _local_date(instant, zone) - timedelta(days=1)
    for day in _matching_days(cron, start, 1):
        for found in _times_on(cron, day, zone):
            if found > instant:
                return found
    return None


def last_times(cron: Cron, first: int, instant: int, zone: tzinfo, limit: int) -> Sequence[int]:
    """Return the last `limit` times from `first` to `instant` (ms, both included), in order."""
    found: list[int] = []
    start, end = _local_date(instant, zone) + timedelta(days=1), _local_date(first, zone)
    for day in _matching_days(cron, start, -1):
        if len(found) >= limit or day < end - timedelta(days=1):
            break
        found += [each for each in reversed(_times_on(cron, day, zone)) if first <= each <= instant]
    return sorted(set(found))[-limit:]


def shortest_interval(cron: Cron) -> int | None:
    """Return the fewest seconds between two of its times; None if it has one time at most.

    Changes of the clocks are not looked at.
    """
    times = [hour * 60 + minute for hour in cron.hours for minute in cron.minutes]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    days = list(_matching_days(cron, date(2024, 1, 1), 1, timedelta(days=8 * 366)))
    between = [(later - earlier).days for earlier, later in pairwise(days)]
    if between:
        gaps.append(min(between) * MINUTES_A_DAY + times[0] - times[-1])
    return min(gaps) * 60 if gaps else None


def _local_date(instant: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(instant / 1000, zone).date()


def _matching_days(
    cron: Cron, start: date, step: int, horizon: timedelta = HORIZON
) -> Iterator[date]:
    return (
        day
        for away in range(horizon.days)
        if cron.matches(day := start + timedelta(days=step * away))
    )


def _times_on(cron: Cron, day: date, zone: tzinfo) -> Sequence[int]:
    """Return the times of a date in ms, in order."""
    found: set[int] = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            instant = wall.astimezone(UTC)
            if instant.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
                if not cron.follows_hours:
                    found.add(_to_ms(_find_gap_end(wall, zone)))
                continue
            found.add(_to_ms(instant))
            if cron.follows_hours:
                found.add(_to_ms(wall.replace(fold=1).astimezone(UTC)))
    return sorted(found)


def _find_gap_end(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the clocks go forward over a time that does not exist."""
    before = wall.utcoffset()
    low, high = wall.replace(fold=1).astimezone(UTC), wall.astimezone(UTC)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _to_ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
