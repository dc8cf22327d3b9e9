"""Small made-up exports of other chat programs, each in the form that the program writes."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SCRIPT = "<script>alert(1)</script>\x1b[31m"
Json = dict[str, Any]


def node(key: str, parent: str | None, role: str, text: str, **more: Any) -> Json:
    content = more.pop("content", {"content_type": "text", "parts": [text]})
    message = {"author": {"role": role}, "content": content, "create_time": 1_700_000_000.5}
    return {"id": key, "parent": parent, "children": [], "message": {**message, **more}}


def chatgpt(key: str = "c1", **more: Any) -> Json:
    """Return a conversation of ChatGPT with two answers, a call, thoughts and a picture."""
    picture = {"asset_pointer": "file-service://file-abc", "content_type": "image_asset_pointer"}
    nodes = [
        {"id": "root", "parent": None, "children": [], "message": None},
        node("hidden", "root", "system", "Be a spy.", weight=0),
        node(
            "q",
            "hidden",
            "user",
            "",
            content={"content_type": "multimodal_text", "parts": [picture, "What is it?"]},
        ),
        node("a1", "q", "assistant", "A cat.", metadata={"model_slug": "gpt-4o"}),
        node(
            "think",
            "q",
            "assistant",
            "",
            content={"content_type": "thoughts", "thoughts": [{"content": "Let me look."}]},
        ),
        node(
            "call",
            "think",
            "assistant",
            "",
            content={"content_type": "code", "text": "look()"},
            recipient="python",
        ),
        node(
            "out",
            "call",
            "tool",
            "",
            content={"content_type": "execution_output", "text": "dog"},
        ),
        node("a2", "out", "assistant", "A dog.", metadata={"model_slug": "gpt-5"}),
    ]
    return {
        "conversation_id": key,
        "title": SCRIPT,
        "create_time": 1_700_000_000.0,
        "update_time": 1_700_000_100.0,
        "mapping": {each["id"]: each for each in nodes},
        "current_node": "a2",
        **more,
    }


CLAUDE: Json = {
    "uuid": "u1",
    "name": "Trip",
    "created_at": "2025-01-02T03:04:05.000Z",
    "updated_at": "2025-01-02T04:04:05.000Z",
    "chat_messages": [
        {
            "uuid": "m1",
            "sender": "human",
            "text": "Plan it.",
            "content": [{"type": "text", "text": "Plan it."}],
            "created_at": "2025-01-02T03:04:05.000Z",
            "parent_message_uuid": "00000000-0000-4000-8000-000000000000",
            "attachments": [{"file_name": "notes.txt", "extracted_content": "By train."}],
            "files": [{"file_name": "map.png"}],
        },
        {
            "uuid": "m2",
            "sender": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm."},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "name": "web search", "input": {"q": "train"}},
                {"type": "tool_result", "content": [{"type": "text", "text": "09:05"}]},
                {"type": "text", "text": "At 09:05."},
            ],
            "parent_message_uuid": "m1",
        },
        {
            "uuid": "m3",
            "sender": "assistant",
            "content": [{"type": "text", "text": "By bus."}],
            "parent_message_uuid": "m1",
        },
    ],
}
OPEN_WEBUI: Json = {
    "id": "w1",
    "user_id": "somebody-else",
    "title": "Cat",
    "created_at": 1_700_000_000,
    "updated_at": 1_700_000_050,
    "archived": True,
    "chat": {
        "history": {
            "currentId": "2",
            "messages": {
                "1": {
                    "id": "1",
                    "parentId": None,
                    "childrenIds": ["2", "3"],
                    "role": "user",
                    "content": "Draw a cat.",
                    "files": [
                        {
                            "type": "image",
                            "url": "data:image/png;base64," + base64.b64encode(PNG).decode(),
                        }
                    ],
                },
                "2": {"parentId": "1", "role": "assistant", "content": "Meow", "model": "llama3"},
                "3": {"parentId": "1", "role": "assistant", "content": "Purr", "model": "qwen"},
            },
        }
    },
}


def as_json(*items: Json) -> bytes:
    return json.dumps(list(items)).encode()


def as_zip(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return target.getvalue()
