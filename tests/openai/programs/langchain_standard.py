"""LangChain's own tests of chat models, with `ChatOpenAI` before our server.

The address is in OPENAI_BASE_URL, and the API, "chat" or "responses", in USED_API. Pictures and
files are sent by a test of ours: those of the suite are fetched from the internet first.
"""

import os

import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

PIXEL = "R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="

APIS = {
    "chat": {"stream_usage": True},
    "responses": {"use_responses_api": True, "output_version": "responses/v1"},
}


class TestAntiphon(ChatModelIntegrationTests):
    """The suite, with everything in it that `ChatOpenAI` can."""

    chat_model_class = ChatOpenAI
    supports_json_mode = True
    supports_model_override = True
    model_override_value = "demo-too"

    @property
    def chat_model_params(self):
        return {
            "model": "demo",
            "base_url": os.environ["OPENAI_BASE_URL"],
            "api_key": "none",
            "max_retries": 0,
            **APIS[os.environ["USED_API"]],
        }

    @pytest.mark.parametrize(
        "block",
        [
            {"type": "image", "base64": PIXEL, "mime_type": "image/gif"},
            {"type": "file", "base64": "aGk=", "mime_type": "text/plain", "filename": "a.txt"},
        ],
        ids=["picture", "file"],
    )
    def test_blocks_of_content_are_read(self, model, block):
        text = {"type": "text", "text": "Look at this"}

        answer = model.invoke([HumanMessage(content_blocks=[text, block])])

        assert "Look at this" in answer.text
