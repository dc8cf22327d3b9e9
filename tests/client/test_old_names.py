"""Old names of the SDK work for one more version and warn with the new one."""

import pytest

from antiphon import AsyncClient, Client, Settings
from antiphon.tools.deadlines import unhurried
from antiphon.tools.tool_events import ToolBegan, ToolEnded
from antiphon.types.errors import NotFound


def now() -> str:
    """Tell the time."""
    return "noon"


SETTINGS = Settings(database="memory:", model="demo")
RENAMED = [
    ("acting_for", "on_behalf_of"),
    ("acting_as", "as_actor"),
    ("every", "paginate"),
    ("line", "transport"),
]


@pytest.mark.parametrize(("old", "new"), RENAMED)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_old_name_of_a_client_is_the_new_one_and_warns(
    kind: type[Client | AsyncClient], old: str, new: str
):
    client = kind(settings=SETTINGS)

    with pytest.warns(DeprecationWarning, match=f"`{old}` is now `{new}`"):
        attribute = getattr(client, old)

    assert attribute == getattr(client, new)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        Client(settings=SETTINGS).nothing  # noqa: B018


def test_the_old_name_of_an_argument_works_and_warns():
    tool_events: list[object] = []

    with Client(settings=SETTINGS) as client:
        with pytest.warns(DeprecationWarning, match="`watch=` is now `on_tool_event=`") as records:
            events = client.converse("Please use now", tools=[now], watch=tool_events.append)
        list(events)

    assert records[0].filename == __file__
    assert [type(each) for each in tool_events] == [ToolBegan, ToolEnded]


def test_the_old_name_of_a_pause_warns():
    with pytest.warns(DeprecationWarning, match="pause_deadline"), unhurried():
        pass


def test_the_old_name_of_the_whole_message_of_an_error_works_and_warns():
    error = NotFound("There is no run.", hint="List the runs.")

    with pytest.warns(DeprecationWarning, match="`told` is now `full_message`"):
        old = error.told

    assert old == error.full_message == "There is no run. List the runs."
