"""What the tests of the web chat are given."""

from tests.web.browser import chromium as chromium
from tests.web.chats import chat as chat
