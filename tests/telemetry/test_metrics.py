"""Metrics and their text."""

from __future__ import annotations

import msgspec
import pytest

from antiphon.telemetry.metrics import (
    ACTIVE_RUNS,
    EVENTS,
    FIRST_TOKEN,
    INFO,
    LAG,
    MAX_CONCURRENT_RUNS,
    MAX_SERIES,
    MEASURES,
    REQUESTS,
    STORE_FAULTS,
    STORED,
    STREAMS,
    TURNS,
    Metrics,
    MetricsSnapshot,
)
from antiphon.telemetry.resources import add_process_gauges
from tests.support.prometheus_text import families, value


def _make_metrics() -> Metrics:
    metrics = Metrics()
    metrics.add(REQUESTS, "/v1/threads", "200")
    metrics.add(REQUESTS, "/v1/threads", "200")
    metrics.add(TURNS, "completed")
    metrics.observe(FIRST_TOKEN, 0.3, "openai")
    metrics.observe(FIRST_TOKEN, 1000.0, "openai")
    metrics.gauge(INFO, lambda: 1, "1.0")
    return metrics


def test_every_metric_is_in_the_text_even_before_anything_happened() -> None:
    metric_families = families(Metrics().snapshot().to_prometheus())

    old_names = [measure.old_name for measure in MEASURES if measure.old_name]
    assert [name for name in metric_families if name not in old_names] == [
        each.name for each in MEASURES
    ]
    assert {
        name: metric_families[name].about for name in metric_families if name not in old_names
    } == {measure.name: measure.about for measure in MEASURES}


def test_a_renamed_metric_has_its_old_name_too_which_names_the_new_one() -> None:
    metrics = Metrics()
    metrics.gauge(ACTIVE_RUNS, lambda: 3)
    metrics.gauge(MAX_CONCURRENT_RUNS, lambda: 100)

    text = metrics.snapshot().to_prometheus()

    metric_families = families(text)
    assert value(text, "antiphon_active_runs") == value(text, "antiphon_runs_driven") == 3
    assert value(text, "antiphon_max_concurrent_runs") == value(text, "antiphon_run_places") == 100
    assert metric_families["antiphon_runs_driven"].about == "Deprecated: use antiphon_active_runs."
    assert metric_families["antiphon_runs_driven"].kind == "gauge"


def test_values_are_listed_by_their_labels() -> None:
    text = _make_metrics().snapshot().to_prometheus()

    assert value(text, REQUESTS.name, route="/v1/threads", status="200") == 2
    assert value(text, f"{FIRST_TOKEN.name}_count", provider="openai") == 2
    assert value(text, f"{FIRST_TOKEN.name}_sum", provider="openai") == 1000.3
    assert 'antiphon_first_token_seconds_bucket{provider="openai",le="0.5"} 1\n' in text
    assert 'antiphon_first_token_seconds_bucket{provider="openai",le="+Inf"} 2\n' in text


def test_numbers_of_several_processes_add_up_also_after_a_way_as_json() -> None:
    encoded = msgspec.json.encode(_make_metrics().snapshot())
    total = _make_metrics().snapshot() + msgspec.json.decode(encoded, type=MetricsSnapshot)
    text = (total + Metrics().snapshot()).to_prometheus()

    assert value(text, REQUESTS.name, route="/v1/threads", status="200") == 4
    assert value(text, f"{FIRST_TOKEN.name}_count", provider="openai") == 4
    assert value(text, INFO.name, version="1.0") == 1


def test_a_label_can_neither_end_its_line_nor_make_series_without_end() -> None:
    metrics = Metrics()
    metrics.add(TURNS, 'a"b\\c\nd')
    for count in range(2 * MAX_SERIES):
        metrics.add(TURNS, f"outcome {count}")

    samples = families(metrics.snapshot().to_prometheus())[TURNS.name].samples

    assert dict(samples[-1].labels)["outcome"] != "", samples[-1]
    assert (("outcome", r"a\"b\\c\nd"),) in [sample.labels for sample in samples]
    assert len(samples) == MAX_SERIES + 1
    assert sum(sample.value for sample in samples) == 2 * MAX_SERIES + 1


def test_the_lag_of_an_event_is_measured_where_its_reader_had_come_to_the_end() -> None:
    metrics = Metrics()
    metrics.record_commit("run_1", 7)
    metrics.record_sent("run_1", 7, [b"text.delta"], follows=False)
    metrics.record_sent("run_1", 6, [b"text.delta"], follows=True)
    metrics.record_sent("run_1", 7, [b"text.delta", b"usage"], follows=True)
    text = metrics.snapshot().to_prometheus()

    assert value(text, f"{LAG.name}_count") == 1
    assert value(text, EVENTS.name, type="text.delta") == 3
    assert value(text, EVENTS.name, type="usage") == 1


def test_what_the_store_could_not_do_is_counted_apart() -> None:
    metrics = Metrics()
    with metrics.measure_store("claim"):
        pass
    with pytest.raises(ConnectionError), metrics.measure_store("claim"):
        raise ConnectionError
    text = metrics.snapshot().to_prometheus()

    assert value(text, f"{STORED.name}_count", work="claim") == 1
    assert value(text, STORE_FAULTS.name, work="claim") == 1


def test_a_stream_is_open_while_it_is() -> None:
    metrics = Metrics()
    with metrics.count_open_stream():
        open_now = value(metrics.snapshot().to_prometheus(), STREAMS.name)

    assert open_now == 1
    assert value(metrics.snapshot().to_prometheus(), STREAMS.name) == 0


def test_memory_and_processor_time_are_those_of_the_process() -> None:
    text = add_process_gauges(Metrics()).snapshot().to_prometheus()

    assert value(text, "process_resident_memory_bytes") > 10_000_000
    assert value(text, "process_cpu_seconds_total") > 0
    assert value(text, "process_open_fds") > 2
