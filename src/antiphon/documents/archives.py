"""Archives that documents are: their bounds, and members that a parser may read."""

from __future__ import annotations

from io import BytesIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from antiphon.documents.kinds import Unreadable

MAX_MEMBERS = 20_000
MAX_UNPACKED = 300_000_000
"""Bytes of all members together."""
MAX_RATIO = 100
"""Times that a member may be larger than it is in the archive, above `FREE_BYTES`."""
FREE_BYTES = 10_000_000
PIECE = 1_000_000


def open_office_archive(content: bytes) -> ZipFile:
    """Open an archive within bounds, whose XML declares neither a type nor entities.

    Documents of Office may declare none: by entities a small file becomes large, or reads others.
    XML is each member that begins with a tag: any member can be named as a part of the document.
    Raises `Unreadable`.
    """
    archive = open_archive(content)
    for member in archive.infolist():
        _check_xml(archive, member)
    return archive


def open_archive(content: bytes) -> ZipFile:
    """Open an archive whose members are within bounds. Archives in it stay closed.

    Raises `Unreadable`.
    """
    try:
        archive = ZipFile(BytesIO(content))
        members = archive.infolist()
    except (BadZipFile, ValueError, OSError, NotImplementedError) as fault:
        raise Unreadable("damaged") from fault
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable("encrypted")
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED:
        raise Unreadable("unsafe")
    if unpacked > FREE_BYTES and unpacked > MAX_RATIO * len(content):
        raise Unreadable("unsafe")
    return archive


def refuse_entities(xml: bytes) -> None:
    """Raise `Unreadable` if the XML declares entities."""
    if _ENTITY in xml.replace(b"\0", b""):  # the same in UTF-16
        raise Unreadable("unsafe")


def _check_xml(archive: ZipFile, member: ZipInfo) -> None:
    before = b""
    is_xml = member.filename.lower().endswith(_XML)
    try:
        with archive.open(member) as file:
            while piece := file.read(PIECE):
                seen = (before + piece).replace(b"\0", b"")  # the same in UTF-16
                if not is_xml and (begins := seen.lstrip(_BEFORE_XML)):
                    if not begins.startswith(b"<"):
                        return
                    is_xml = True
                if any(mark in seen for mark in _DECLARATIONS):
                    raise Unreadable("unsafe")
                before = piece[-64:]
    except (BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as fault:
        raise Unreadable("damaged") from fault


_XML = (".xml", ".rels")
_BEFORE_XML = b"\xef\xbb\xbf\xfe\xff \t\r\n"
"""Bytes of marks of the byte order, and blanks."""
_ENTITY = b"<!ENTITY"
_DECLARATIONS = (_ENTITY, b"<!DOCTYPE")
