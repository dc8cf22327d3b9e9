"""`antiphon up` is stopped while a user reads an answer."""

from __future__ import annotations

import re
import signal

import httpx2

from tests.support.cli.place import SECONDS, Place


def test_ctrl_c_ends_the_stream_of_an_answer_in_order(place: Place) -> None:
    flags = ("--no-servers", "--port", "0", "--shutdown-timeout", "0.1", "--demo-delay", "0.05")
    with place.start("up", *flags) as server:
        assert server.stderr
        output = b""
        while not (match := re.search(rb"listening on (http://\S+)", output)):
            line = server.stderr.readline()
            assert line, output
            output += line
        address = match[1].decode()
        with httpx2.Client(base_url=address, timeout=SECONDS, trust_env=False) as browser:
            browser.get("/")
            question = {"content": "Tell me a long story"}
            headers = {"Origin": address}
            url = "/api/messages/process"
            with browser.stream("POST", url, json=question, headers=headers) as response:
                pieces = response.iter_text()
                next(pieces)
                server.send_signal(signal.SIGINT)
                for _ in pieces:  # an end that was cut would raise here
                    pass
        _, stderr_rest = server.communicate(timeout=SECONDS)

    assert server.returncode == 0
    assert stderr_rest == b""
