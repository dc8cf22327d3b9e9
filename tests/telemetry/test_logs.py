"""Log lines: one line for each record, harmless, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from antiphon.telemetry.logs import (
    JsonLogFormatter,
    LogFormatter,
    TextLogFormatter,
    UserContent,
    log_context,
)
from antiphon.types.errors import NotFound

CANARY = "canary-7f3a"
Written = Callable[[], list[str]]
FORMS = [TextLogFormatter, JsonLogFormatter]
every_form = pytest.mark.parametrize("form", FORMS)


class LogRecorder:
    """A logger, and the lines that it wrote."""

    def __init__(self, form: LogFormatter) -> None:
        self._stream = io.StringIO()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(form)
        self.log = logging.Logger("antiphon.test")
        self.log.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        text = self._stream.getvalue()
        assert text.endswith("\n")
        return text.removesuffix("\n").split("\n")


def _raise(error: Exception) -> Iterator[None]:
    try:
        raise error
    except type(error) as cause:
        raise ValueError(f"which led to {CANARY}") from cause
    yield


@every_form
@pytest.mark.parametrize(
    "odd",
    ["\n", "\r", "\x1b[31m", "\x00", "\x85", "\u2028", "\u202e", "\x9b", "\U000e0080", "\ufff3"],
)
def test_nothing_ends_a_line_or_acts_on_a_terminal(form: type[LogFormatter], odd: str) -> None:
    recorder = LogRecorder(form())
    with log_context(run_id=f"run_{odd}1"):
        recorder.log.warning("a name: %s", f"before{odd}info: forged")

    (line,) = recorder.lines
    assert line.isprintable(), line
    assert "forged" in line


@every_form
@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://ann:canary-7f3a@db/antiphon",
        "redis://:canary-7f3a@cache:6379/0",
        "Authorization: Bearer canary-7f3a.x",
        "key sk-canary-7f3a123456",
        "ak_canary-7f3a123456789012345678901234567890",
        "<ClientResponse(https://h/v1/models?key=canary-7f3a) [200 OK]>",
        "https://ann:canary-7f3a@h/v1/models?page=2&key=canary-7f3a%2Fx",
    ],
)
def test_secrets_are_masked_wherever_they_come_from(form: type[LogFormatter], secret: str) -> None:
    recorder = LogRecorder(form(content=True))
    recorder.log.warning("cannot use %s", secret)
    recorder.log.warning(secret)

    assert CANARY not in "".join(recorder.lines)
    assert "****" in recorder.lines[0]


def test_the_names_of_a_query_and_the_rest_of_its_line_are_logged() -> None:
    recorder = LogRecorder(TextLogFormatter())
    recorder.log.warning("cannot use https://h/v1/models?page=2&key=%s again", CANARY)

    assert "cannot use https://h/v1/models?page=****&key=**** again" in recorder.lines[0]


@every_form
def test_what_people_and_models_wrote_is_logged_only_where_it_is_wanted(
    form: type[LogFormatter],
) -> None:
    without_content, with_content = LogRecorder(form()), LogRecorder(form(content=True))
    for recorder in (without_content, with_content):
        recorder.log.warning("the model said %s", UserContent(CANARY))
        try:
            list(_raise(KeyError(CANARY)))
        except ValueError as error:
            recorder.log.warning("it broke: %s", error, exc_info=True)

    assert CANARY not in "".join(without_content.lines)
    assert "(11 characters)" in without_content.lines[0]
    assert "KeyError" in without_content.lines[1]
    assert "test_logs.py" in without_content.lines[1]
    assert all(CANARY in line for line in with_content.lines)


def test_the_message_of_an_error_of_ours_is_logged() -> None:
    recorder = LogRecorder(TextLogFormatter())
    recorder.log.warning("waiting: %s", NotFound("Run run_1 is not there."))

    assert "waiting: Run run_1 is not there." in recorder.lines[0]


def test_json_has_a_field_for_each_thing_that_is_known() -> None:
    recorder = LogRecorder(JsonLogFormatter())
    with log_context(run_id="run_1", thread_id=None), log_context(trace_id="0af7"):
        recorder.log.error("lost %d", 3)
    recorder.log.info("after it")

    first, second = map(json.loads, recorder.lines)
    assert first["time"].endswith("Z")
    assert (first["level"], first["logger"]) == ("error", "antiphon.test")
    assert (first["message"], first["run_id"], first["trace_id"]) == ("lost 3", "run_1", "0af7")
    assert "thread_id" not in first
    assert "run_id" not in second


def test_a_text_that_is_no_id_is_not_logged_as_one() -> None:
    recorder = LogRecorder(TextLogFormatter())
    with log_context(run_id="run_1\n canary", thread_id="thread_1"):
        recorder.log.warning("hello")

    assert recorder.lines[0].endswith("hello thread_id=thread_1")


def test_a_line_that_does_not_fit_its_values_is_logged_as_it_is() -> None:
    recorder = LogRecorder(TextLogFormatter())
    recorder.log.warning("%d files", "many")

    assert recorder.lines[0].endswith("%d files")
