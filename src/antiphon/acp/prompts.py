"""A prompt of an editor as a message: texts, pictures, files that it links or sends along."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acp.schema import (
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

from antiphon.client.mentions import AttachedFile, PreparedMessage, classify_file, read_file
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import one_line

Block = (
    TextContentBlock
    | ImageContentBlock
    | AudioContentBlock
    | ResourceContentBlock
    | EmbeddedResourceContentBlock
)

ReadText = Callable[[str], Awaitable[str]]
"""Returns the text of a file as the editor has it, saved or not."""


class PromptReader:
    """Reads the blocks of a prompt. Linked files are read in the session's folders alone.

    `read_text` reads through the editor, if it can.
    """

    def __init__(self, folders: Sequence[Path], read_text: ReadText | None) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._read_text = read_text

    async def read(self, blocks: Sequence[Block]) -> PreparedMessage:
        """Return the message. Raises `InvalidRequest` and `TooLarge`."""
        texts: list[str] = []
        files: list[AttachedFile] = []
        for block in blocks:
            match block:
                case TextContentBlock(text=text):
                    texts.append(text)
                case ImageContentBlock(data=data):
                    files.append(classify_file("picture", _decode(data)))
                case EmbeddedResourceContentBlock(resource=TextResourceContents() as resource):
                    files.append(_classify_embedded(resource.uri, resource.text.encode()))
                case EmbeddedResourceContentBlock(resource=resource):
                    files.append(_classify_embedded(resource.uri, _decode(resource.blob)))
                case ResourceContentBlock(uri=uri, name=name):
                    path = self._find(uri)
                    if path is None:
                        texts.append(f"[{one_line(name)}]({one_line(uri)})")
                    else:
                        texts.append(f"@{path}")
                        file = read_file(str(path))
                        if self._read_text is not None and file.kind == "text":
                            edited = await self._read_text(str(path))
                            file = classify_file(str(path), edited.encode())
                        files.append(file)
                case AudioContentBlock():
                    raise InvalidRequest(
                        "Sound cannot be sent to a model here.", expected="text, pictures and files"
                    )
        return PreparedMessage("".join(texts), tuple(files))

    def _find(self, uri: str) -> Path | None:
        """Return the linked file, if it is one in the session's folders."""
        place = urlsplit(uri)
        if place.scheme != "file" or "\0" in place.path:
            return None
        path = Path(unquote(place.path))
        resolved = path.resolve()
        if not resolved.is_file() or not any(resolved.is_relative_to(one) for one in self._folders):
            return None
        return resolved


def _classify_embedded(uri: str, content: bytes) -> AttachedFile:
    return classify_file(one_line(unquote(urlsplit(uri).path)) or "file", content)


def _decode(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "The data of a file is not base64.", expected="base64", received=data[:40]
        ) from error
