"""What the tests of the web chat are given."""

from tests.web.browser import chromium as chromium
