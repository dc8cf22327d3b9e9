"""What the server counts, and the text that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the time to a stream's first event."""


class Metrics:
    """Counters of one process; a scrape adds those of all processes up."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._events: Counter[bytes] = Counter()
        self._streams = 0
        self._first = [0] * (len(BUCKETS) + 1)
        self._first_sum = 0.0

    def answered(self, route: str, status: int) -> None:
        """Count an answer; `route` is the template, so that there are few."""
        self._requests[route, status] += 1

    @contextmanager
    def stream(self) -> Generator[None]:
        """Count a stream as open while it is."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def sent(self, types: Sequence[bytes]) -> None:
        """Count events that went out."""
        for kind in types:
            self._events[kind] += 1

    def first(self, seconds: float) -> None:
        """Note how long a stream's first event took."""
        self._first[bisect_left(BUCKETS, seconds)] += 1
        self._first_sum += seconds

    def text(self) -> str:
        """The exposition format, https://prometheus.io/docs/instrumenting/exposition_formats/."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _about("antiphon_http_requests_total", "counter", "Answers by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            yield f'antiphon_http_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _about("antiphon_streams_open", "gauge", "Streams that are open now.")
        yield f"antiphon_streams_open {self._streams}"
        yield from _about("antiphon_events_sent_total", "counter", "Events sent, by type.")
        for kind, count in sorted(self._events.items()):
            yield f'antiphon_events_sent_total{{type="{kind.decode()}"}} {count}'
        name = "antiphon_first_event_seconds"
        yield from _about(name, "histogram", "Time from a request to its stream's first event.")
        below = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._first, strict=True):
            below += count
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {self._first_sum:.6f}"
        yield f"{name}_count {below}"


def _about(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
