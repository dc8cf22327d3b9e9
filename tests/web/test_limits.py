"""A client over its limit is told when to retry; others are not affected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.limits.rate_limit import MAX_REMEMBERED, LinkGuesses, RateLimit
from antiphon.settings.settings import Settings
from antiphon.types.errors import NotFound, Overloaded, TooMany
from antiphon.web.limits import (
    GUESSES_OF_A_NAME,
    GUESSES_OF_AN_ADDRESS,
    STREAMS_EACH,
    LoginGuesses,
    StreamLimit,
    StreamTicket,
    create_limits,
)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def count_passed(rate: RateLimit, client: str, count: int) -> int:
    """Return the number of requests that were let through."""
    passed_count = 0
    for _ in range(count):
        try:
            rate.take(client)
        except TooMany:
            continue
        passed_count += 1
    return passed_count


def test_a_burst_passes_and_then_one_request_at_each_interval() -> None:
    clock = Clock()
    rate = RateLimit(6, 60, "messages", clock)

    assert count_passed(rate, "ann", 10) == 6
    clock.now = 10
    assert count_passed(rate, "ann", 10) == 1
    clock.now = 1000
    assert count_passed(rate, "ann", 10) == 6


def test_a_refused_client_is_told_when_to_retry() -> None:
    clock = Clock()
    rate = RateLimit(6, 60, "messages", clock)
    count_passed(rate, "ann", 6)

    with pytest.raises(TooMany) as error_info:
        rate.take("ann")
    clock.now = error_info.value.details["retry_after"]
    rate.take("ann")


def test_each_client_has_its_own_limit() -> None:
    rate = RateLimit(2, 60, "messages", Clock())

    assert [count_passed(rate, client, 3) for client in ("ann", "bob")] == [2, 2]


def test_a_login_that_was_no_guess_is_refunded() -> None:
    rate = RateLimit(1, 60, "logins", Clock())

    for _ in range(5):
        rate.take("ann")
        rate.refund("ann")


def test_a_flood_of_names_takes_no_more_memory_than_its_limit() -> None:
    clock = Clock()
    rate = RateLimit(1, 60, "logins", clock)
    for number in range(MAX_REMEMBERED + 50):
        rate.take(str(number))

    with pytest.raises(TooMany):
        rate.take(str(MAX_REMEMBERED + 49))
    assert count_passed(rate, "0", 1) == 1  # the oldest are forgotten


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_in_no_stretch_of_time_do_more_pass_than_twice_the_rate(
    pauses: list[float], rate_per_minute: int
) -> None:
    clock = Clock()
    rate = RateLimit(rate_per_minute, 60, "messages", clock)
    passing_times = []
    for pause in pauses:
        clock.now += pause
        if count_passed(rate, "ann", 1):
            passing_times.append(clock.now)

    for begin in passing_times:
        assert sum(begin <= at < begin + 60 for at in passing_times) <= 2 * rate_per_minute


def test_streams_are_counted_together_and_for_each() -> None:
    streams = StreamLimit(3, 2)
    tickets = [streams.admit("ann"), streams.admit("ann")]

    with pytest.raises(Overloaded) as error_info:
        streams.admit("ann")
    assert error_info.value.details["retry_after"] > 0
    tickets.append(streams.admit("bob"))
    with pytest.raises(Overloaded):
        streams.admit("cleo")
    tickets[0].release()
    tickets[0].release()
    assert streams.open == 2
    streams.admit("cleo").release()


def test_a_ticket_that_nobody_holds_is_free_again() -> None:
    streams = StreamLimit(1, 1)
    streams.admit("ann")

    assert streams.open == 0


def test_guesses_count_by_name_however_it_is_written_and_by_address() -> None:
    guesses = LoginGuesses(Clock())
    names = ("ann", "ANN", " ann ", "ａｎｎ")
    for number in range(GUESSES_OF_A_NAME):
        guesses.take(names[number % 4], f"198.51.100.{number}")

    with pytest.raises(TooMany):
        guesses.take("ann", "203.0.113.1")
    guesses.take("bob", "203.0.113.1")


def test_guesses_from_one_network_count_together() -> None:
    guesses = LoginGuesses(Clock())
    for number in range(GUESSES_OF_AN_ADDRESS):
        guesses.take(f"name {number}", f"2001:db8::{number:x}")

    with pytest.raises(TooMany):
        guesses.take("ann", "2001:db8::abcd")
    guesses.take("ann", "2001:db8:0:1::1")


def test_the_only_user_of_an_installation_may_have_all_streams() -> None:
    streams_of_one_user = create_limits(Settings(web_streams=70)).streams
    streams_of_many_users = create_limits(Settings(web_streams=70, login="password")).streams

    assert [
        len(take_tickets(streams, "ann"))
        for streams in (streams_of_one_user, streams_of_many_users)
    ] == [
        70,
        STREAMS_EACH,
    ]


def take_tickets(streams: StreamLimit, client: str) -> list[StreamTicket]:
    """Return as many tickets as this client gets."""
    tickets = []
    try:
        while True:
            tickets.append(streams.admit(client))
    except Overloaded:
        return tickets


def test_links_that_lead_nowhere_are_limited_and_those_that_lead_somewhere_are_not() -> None:
    clock = Clock()
    links = LinkGuesses(clock)

    for _ in range(200):
        with links.count("192.0.2.1"):
            pass
    for _ in range(50):
        with pytest.raises(NotFound), links.count("192.0.2.1"):
            raise NotFound("Nothing is shared under this link.")

    with pytest.raises(TooMany), links.count("192.0.2.1"):
        raise NotFound("Nothing is shared under this link.")
    with links.count("192.0.2.1"):
        pass
    with pytest.raises(NotFound), links.count("192.0.2.2"):
        raise NotFound("Nothing is shared under this link.")
    clock.now = 900.0
    with pytest.raises(NotFound), links.count("192.0.2.1"):
        raise NotFound("Nothing is shared under this link.")
