"""Cron expressions: their syntax, and the times that they name in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.engine.cron import (
    SHORTHANDS,
    last_times,
    next_after,
    parse_cron,
    shortest_interval,
)
from antiphon.types.errors import InvalidRequest

BERLIN = ZoneInfo("Europe/Berlin")
START = int(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def times(expression: str, start: str, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """Return the first times after a local one, each with its offset."""
    cron, local_times = parse_cron(expression), []
    instant = int(datetime.fromisoformat(start).replace(tzinfo=zone).timestamp() * 1000)
    for _ in range(count):
        after = next_after(cron, instant, zone)
        assert after is not None
        instant = after
        local_times.append(f"{datetime.fromtimestamp(instant / 1000, zone):%m-%d %H:%M %z}")
    return local_times


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 8 * * *", ["11-24 08:30 +0100", "11-25 08:30 +0100"]),
        ("0 9 * * mon-fri", ["11-24 09:00 +0100", "11-25 09:00 +0100"]),
        ("0 0 1 */3 *", ["01-01 00:00 +0100", "04-01 00:00 +0200"]),
        ("15,45 6 * Dec SUN", ["12-06 06:15 +0100", "12-06 06:45 +0100"]),
        ("0 12 * * 7", ["11-29 12:00 +0100", "12-06 12:00 +0100"]),
        ("0 12 * * sat-sun", ["11-28 12:00 +0100", "11-29 12:00 +0100"]),
        ("0 0 31 * *", ["12-31 00:00 +0100", "01-31 00:00 +0100"]),
        ("10-20/5 7 24 * *", ["11-24 07:10 +0100", "11-24 07:15 +0100"]),
        ("@hourly", ["11-24 01:00 +0100", "11-24 02:00 +0100"]),
    ],
)
def test_an_expression_names_its_times(expression: str, expected: list[str]) -> None:
    assert times(expression, "2026-11-24T00:00", 2) == expected


def test_days_of_month_and_week_are_either_unless_one_of_them_is_a_star() -> None:
    assert times("0 9 13 * fri", "2026-03-28T00:00", 3) == [
        "04-03 09:00 +0200",
        "04-10 09:00 +0200",
        "04-13 09:00 +0200",
    ]
    assert times("0 9 */2 * fri", "2026-03-28T00:00", 2) == [
        "04-03 09:00 +0200",
        "04-17 09:00 +0200",
    ]


@pytest.mark.parametrize("shorthand", SHORTHANDS)
def test_a_shorthand_is_its_expression(shorthand: str) -> None:
    assert parse_cron(f" {shorthand.upper()} ") == parse_cron(SHORTHANDS[shorthand])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("0 0 * * " + "1," * 200 + "1", "five fields"),
        ("@reboot", "@reboot is no time"),
        ("@sometimes", "no such shorthand"),
        ("60 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day of the month"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "day of the week"),
        ("0 0 * * mo", "day of the week"),
        ("1,,2 * * * *", "minute"),
        ("5/10 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("٣ * * * *", "minute"),
        ("0 0 L * *", "day of the month"),
        ("99999999999999999999 * * * *", "minute"),
        ("\x1b[31m * * * *", "minute"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(expression: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as excinfo:
        parse_cron(expression)

    assert "\x1b" not in str(excinfo.value.details)


def test_a_time_that_the_clocks_skip_occurs_when_they_have_gone_forward() -> None:
    assert times("30 2 * * *", "2026-03-28T00:00", 3) == [
        "03-28 02:30 +0100",
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
    ]
    assert times("0,30 2,3 * * *", "2026-03-29T00:00", 3) == [
        "03-29 03:00 +0200",
        "03-29 03:30 +0200",
        "03-30 02:00 +0200",
    ]


def test_a_time_that_comes_twice_occurs_the_first_time() -> None:
    assert times("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_an_expression_whose_hours_begin_with_a_star_follows_the_hours_as_they_pass() -> None:
    assert times("51 */2 * * *", "2026-03-29T00:55", 1) == ["03-29 04:51 +0200"]
    assert times("30 * * * *", "2026-03-29T01:00", 2) == ["03-29 01:30 +0100", "03-29 03:30 +0200"]
    assert times("30 * * * *", "2026-10-25T02:00", 3) == [
        "10-25 02:30 +0200",
        "10-25 02:30 +0100",
        "10-25 03:30 +0100",
    ]


def test_clocks_that_change_at_midnight_or_by_half_an_hour_lose_no_day() -> None:
    beirut = times("0 0 * * *", "2026-03-28T12:00", 2, ZoneInfo("Asia/Beirut"))
    assert beirut == ["03-29 01:00 +0300", "03-30 00:00 +0300"]

    lord_howe = times("15 2 * * *", "2026-10-03T12:00", 2, ZoneInfo("Australia/Lord_Howe"))
    assert lord_howe == ["10-04 02:30 +1100", "10-05 02:15 +1100"]


def test_a_day_that_a_zone_left_out_occurs_once() -> None:
    apia = times("0 9 29,30,31 12 *", "2011-12-28T12:00", 3, ZoneInfo("Pacific/Apia"))

    assert apia == ["12-29 09:00 -1000", "12-31 00:00 +1400", "12-31 09:00 +1400"]


def test_leap_days_are_found_and_dates_that_never_come_are_not() -> None:
    assert times("0 0 29 2 *", "2096-03-01T00:00", 1) == ["02-29 00:00 +0100"]
    assert next_after(parse_cron("0 0 30 2 *"), START, BERLIN) is None
    assert next_after(parse_cron("0 0 31 4,6,9,11 *"), START, BERLIN) is None


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("* * * * *", 60),
        ("*/7 * * * *", 240),
        ("0,59 0,23 * * *", 60),
        ("59 23 1,2 * *", 86_400),
        ("0,59 0,23 1 * *", 3_540),
        ("0 0 1 * *", 28 * 86_400),
        ("0 0 30 2 *", None),
    ],
)
def test_the_shortest_interval_is_known(expression: str, seconds: int | None) -> None:
    assert shortest_interval(parse_cron(expression)) == seconds


FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


@st.composite
def expressions(draw: st.DrawFn) -> str:
    texts = []
    for lowest, highest in FIELDS:
        low = draw(st.integers(lowest, highest))
        high = draw(st.integers(low, highest))
        step = draw(st.integers(1, 7))
        texts.append(draw(st.sampled_from(["*", f"*/{step}", f"{low}", f"{low}-{high}/{step}"])))
    return " ".join(texts)


def is_match(expression: str, moment: datetime) -> bool:
    """Return whether the expression names this minute, read in the plainest way."""
    texts = expression.split()
    values = [moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7]
    field_matches = []
    for text, value, (lowest, highest) in zip(texts, values, FIELDS, strict=True):
        span, _, step = text.partition("/")
        low, _, high = (f"{lowest}-{highest}" if span == "*" else span).partition("-")
        field_matches.append(value in range(int(low), int(high or low) + 1, int(step or 1)))
    minute, hour, of_month, month, of_week = field_matches
    either_day_counts = not texts[2].startswith("*") and not texts[4].startswith("*")
    day = of_month or of_week if either_day_counts else of_month and of_week
    return minute and hour and month and day


@settings(max_examples=5 * settings.default.max_examples)
@given(expressions(), st.integers(0, 366 * DAY_MS))
def test_the_next_time_is_the_first_minute_that_holds(expression: str, later: int) -> None:
    instant = START + later
    next_time = next_after(parse_cron(expression), instant, UTC)

    moment = datetime.fromtimestamp(instant // 60_000 * 60, UTC)
    minutes = (moment + timedelta(minutes=offset) for offset in range(1, 3 * 1440))
    expected = next((each for each in minutes if is_match(expression, each)), None)
    if expected is not None:
        assert next_time == int(expected.timestamp() * 1000)
    else:
        assert next_time is None or next_time >= instant + 3 * DAY_MS - 60_000
        assert next_time is None or is_match(
            expression, datetime.fromtimestamp(next_time / 1000, UTC)
        )


@given(expressions(), st.integers(0, 366 * DAY_MS), st.integers(1, 6))
def test_the_last_times_are_those_that_follow_one_another(
    expression: str, later: int, limit: int
) -> None:
    cron, first = parse_cron(expression), START + later
    instant, forward = first + DAY_MS // 24, []
    last = first - 1
    while (after := next_after(cron, last, BERLIN)) is not None and after <= instant:
        last = after
        forward.append(last)

    assert list(last_times(cron, first, instant, BERLIN, limit)) == forward[-limit:]
