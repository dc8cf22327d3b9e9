"""Tests of programs that use Antiphon, without a model: a script says what the model answers.

    def test_the_bot_looks_up_the_flight(antiphon_script, antiphon_client):
        antiphon_script.call("get_flight_times", departure="LAX", arrival="JFK")
        antiphon_script.reply("It leaves at 16:35.")

        result = antiphon_client.ask("When is the flight?", tools=[get_flight_times])

        assert result.text == "It leaves at 16:35."

The fixtures are those of the pytest plugin that comes with Antiphon. Without pytest, create a
`Script` and a client for its model: `Client(settings=script.settings())`.
"""

from antiphon.testing.script import Script as Script

__all__ = ["Script"]
