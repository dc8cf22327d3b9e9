"""Hosted tools of OpenAI's API, done by MCP servers of the operator.

The setting `hosted_tools` maps a type of tool to a server, and perhaps to one of its tools:

    web_search=brave/brave_web_search   code_interpreter=python

A request that has such a tool gets the server's; a call is an item of the original's form, and
links of results that the answer repeats are its citations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from antiphon.types.messages import Citation, Message, list_pages
from antiphon.types.runs import McpServer
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.object_ids import HOSTED_PREFIXES, call_item_id

WEB_SEARCH = "web_search"
"""The type of hosted tool whose results an answer cites."""

MAX_LINKS = 100  # of one result
_MAX_DEPTH = 8  # of JSON in which links are looked for


# Which server does what.


class HostedTarget(msgspec.Struct, frozen=True):
    """The MCP server that does a hosted tool, with all of its tools or with one."""

    server: str
    tool: str | None = None


def parse_hosted_tools(texts: Iterable[str]) -> Mapping[str, HostedTarget]:
    """Return the targets of a setting by types of tools; of several for one type, the last."""
    targets: dict[str, HostedTarget] = {}
    for text in texts:
        kind, _, target = text.partition("=")
        server, _, tool = target.partition("/")
        targets[kind] = HostedTarget(server, tool or None)
    return targets


def choose_hosted_servers(
    wanted: Iterable[str], targets: Mapping[str, HostedTarget]
) -> tuple[McpServer, ...]:
    """Return the MCP servers for these types of tools, which run without a question.

    The operator allows a call by the mapping, as the original runs its own tools unasked.
    """
    tools: dict[str, list[str] | None] = {}
    for kind in wanted:
        target = targets[kind]
        known = tools.setdefault(target.server, [])
        if target.tool is None or known is None:
            tools[target.server] = None
        elif target.tool not in known:
            known.append(target.tool)
    return tuple(
        McpServer(
            server,
            allowed_tools=None if names is None else tuple(names),
            require_approval="never",
        )
        for server, names in tools.items()
    )


class HostedCalls(msgspec.Struct, frozen=True):
    """Types of hosted tools by what calls of them are named: whole names, and prefixes of them."""

    names: Mapping[str, str] = {}
    prefixes: Mapping[str, str] = {}

    def find(self, name: str) -> str | None:
        """Return the type of hosted tool that a call of this name belongs to; None for none."""
        if name in self.names:
            return self.names[name]
        found = (kind for prefix, kind in self.prefixes.items() if name.startswith(prefix))
        return next(found, None)

    def has(self, kind: str) -> bool:
        """Return whether a hosted tool of this type is among them."""
        return kind in self.names.values() or kind in self.prefixes.values()


class Source(NamedTuple):
    """A link in the result of a search, and the number of the message that holds it."""

    number: int
    url: str
    title: str


class HostedRun(msgspec.Struct, frozen=True):
    """The hosted tools of a run, and the sources that their calls have found.

    `pictures` are the pictures that its calls have made, as base64 by the ids of their files; more
    are added as they are made.
    """

    calls: HostedCalls
    sources: Sequence[Source] = ()
    pictures: dict[str, str] = {}

    @property
    def titles(self) -> Mapping[str, str]:
        """Titles of all sources, by their URLs."""
        return {each.url: each.title for each in self.sources}

    def find_picture(self, file_ids: Iterable[str]) -> str | None:
        """Return the first picture among these files, as base64."""
        return next((self.pictures[each] for each in file_ids if each in self.pictures), None)

    def titles_before(self, number: int) -> Mapping[str, str]:
        """Return titles by URLs of the sources that the reply of this number could cite."""
        return {each.url: each.title for each in self.sources if each.number < number}


NO_HOSTED_RUN = HostedRun(HostedCalls())
NO_HOSTED_RUNS: Mapping[str, HostedRun] = {}


def find_sources(calls: HostedCalls, messages: Iterable[Message]) -> HostedRun:
    """Return what the searches in a run's messages have found."""
    searches: set[str] = set()
    sources: list[Source] = []
    for message in messages:
        for call in message.tool_calls:
            if calls.find(call.name) == "web_search":
                searches.add(call.id)
        if message.tool_call_id in searches and not message.is_error:
            links = find_links(message.text)
            sources += [Source(message.number, url, title) for url, title in links.items()]
    return HostedRun(calls, sources)


# Calls as items.


def make_hosted_call_item(
    kind: str,
    reply_id: str,
    place: int,
    arguments: str,
    output: str | None = None,
    *,
    is_error: bool = False,
    server: str = "",
    picture: str | None = None,
) -> kinds.HostedCall:
    """Return the item of a call of a hosted tool; without an output it is in progress.

    `picture` is what was made, as base64.
    """
    decoded = _decode(arguments)
    given = cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}
    prefix = HOSTED_PREFIXES[f"{kind}_call"]
    fields: dict[str, Any] = {
        "id": call_item_id(prefix, reply_id, place),
        "status": "failed" if is_error else "in_progress" if output is None else "completed",
    }
    text = output if output and not is_error else ""
    match kind:
        case "web_search":
            return kinds.WebSearchCall(action=_search_action(given, text), **fields)
        case "file_search":
            results = _file_results(text) if text else None
            return kinds.FileSearchCall(queries=_queries(given), results=results, **fields)
        case "image_generation":
            prompt = _first_text(given, ("prompt", "description", "text"))
            return kinds.ImageGenerationCall(result=picture, revised_prompt=prompt, **fields)
        case _:
            logs = ({"type": "logs", "logs": output},) if output else None
            code = _first_text(given, ("code", "source", "script", "program"))
            return kinds.CodeInterpreterCall(code=code, container_id=server, outputs=logs, **fields)


def _search_action(given: Mapping[str, Any], output: str) -> dict[str, Any]:
    url = given.get("url")
    queries = _queries({name: value for name, value in given.items() if name != "url"})
    if not queries and isinstance(url, str):
        return {"type": "open_page", "url": url}
    return {
        "type": "search",
        "query": queries[0] if queries else "",
        "queries": list(queries),
        "sources": [{"type": "url", "url": each} for each in find_links(output)],
    }


def _queries(given: Mapping[str, Any]) -> tuple[str, ...]:
    several = given.get("queries")
    if isinstance(several, list):
        return tuple(str(each) for each in cast("list[object]", several))
    one = _first_text(given, ("query", "q", "search_query", "question", "text"))
    return () if one is None else (one,)


def _first_text(given: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of these fields that is a text; without any, the first text of all."""
    for name in (*names, *given):
        if isinstance(given.get(name), str):
            return str(given[name])
    return None


def _file_results(output: str) -> tuple[dict[str, Any], ...]:
    """Return the results of a search in files: objects of a JSON list, or the whole text."""
    value = _decode(output)
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        value = next((inner for inner in fields.values() if isinstance(inner, list)), None)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    listed = cast("list[object]", value) if isinstance(value, list) else []
    found = [_file_result(cast("dict[str, Any]", e)) for e in listed if isinstance(e, dict)]
    return tuple(found) or ({"text": output},)


def _file_result(given: dict[str, Any]) -> dict[str, Any]:
    text = next((given[n] for n in ("text", "content", "snippet") if n in given), None)
    if text is not None and not isinstance(text, str):
        text = msgspec.json.encode(text).decode()
    named = {
        "file_id": given.get("file_id") or given.get("id"),
        "filename": given.get("filename") or given.get("name") or given.get("title"),
        "text": text,
    }
    score = given.get("score")
    number = {"score": score} if isinstance(score, int | float) else {}
    return {n: str(v) for n, v in named.items() if v is not None} | number


# Links and citations.

_URL = r"https?://[^\s<>\"'`\]\[{}|\\^]{1,2000}"
_MARKDOWN = re.compile(rf"\[([^\[\]\n]{{1,300}})\]\(({_URL})\)")
_TITLE_LINE = re.compile(r"\W{0,8}title\W{1,4}(\S.{0,300})", re.IGNORECASE)
_BARE = re.compile(_URL)
_TRAILING = ".,;:!?)*_"


def find_links(text: str) -> dict[str, str]:
    """Return titles by URLs of the links in a result: of JSON, Markdown, or plain text."""
    found: dict[str, str] = {}
    value = _decode(text)
    if isinstance(value, dict | list):
        for url, title in _links_in(value, _MAX_DEPTH):
            found.setdefault(url, title)
            if len(found) == MAX_LINKS:
                break
        return found
    title = ""
    for line in text.splitlines():
        if titled := _TITLE_LINE.match(line):
            title = titled[1].strip().strip("*_")
        for label, url in _MARKDOWN.findall(line):
            found.setdefault(_trim(url), label.strip())
        for bare in _BARE.findall(line):
            found.setdefault(_trim(bare), title)
            title = ""  # it is that of one link
        if len(found) >= MAX_LINKS:
            break
    return dict(list(found.items())[:MAX_LINKS])


def citations(
    text: str, titles: Mapping[str, str], cited: Sequence[Citation] = ()
) -> tuple[dict[str, Any], ...]:
    """Return the annotations of a text: `url_citation` for each known URL, counted in code points.

    A Markdown link is cited as a whole. `cited` are the provider's own citations: one whose URL is
    not in the text is annotated where the provider says, or else with no characters at its end.
    """
    if cited:
        titles = {**titles, **{page.url: page.title for page in list_pages(cited)}}
    if not titles:
        return ()
    found: list[dict[str, Any]] = []
    end = 0
    for link in _find_marked_links(text):
        if link.start >= end and link.url in titles:
            end = link.end
            title = titles[link.url] or link.label or link.url
            found.append(
                {
                    "type": "url_citation",
                    "start_index": link.start,
                    "end_index": link.end,
                    "url": link.url,
                    "title": title,
                }
            )
    linked = {annotation["url"] for annotation in found}
    for citation in _group_by_page(cited):
        if citation.url not in linked:
            place = citation.start, citation.end
            if citation.end is None or citation.end > len(text):
                place = len(text), len(text)
            found.append(
                {
                    "type": "url_citation",
                    "start_index": place[0],
                    "end_index": place[1],
                    "url": citation.url,
                    "title": titles[citation.url] or citation.url,
                }
            )
    return tuple(found)


def _group_by_page(cited: Sequence[Citation]) -> Iterator[Citation]:
    """Yield the citations of each page together; one without bounds only if the page has no other.

    A stream may bring them in another order than the saved message has.
    """
    for page in list_pages(cited):
        of_page = [each for each in cited if each.url == page.url]
        yield from [each for each in of_page if each.start is not None] or of_page[:1]


class _Link(NamedTuple):
    start: int
    end: int
    url: str
    label: str = ""


def _find_marked_links(text: str) -> list[_Link]:
    spans = [
        _Link(link.start(), link.end(), _trim(link[2]), link[1].strip())
        for link in _MARKDOWN.finditer(text)
    ]
    for bare in _BARE.finditer(text):
        url = _trim(bare[0])
        spans.append(_Link(bare.start(), bare.start() + len(url), url))
    return sorted(spans)


def _trim(url: str) -> str:
    """Return the URL without what follows it in a sentence."""
    trimmed = url.rstrip(_TRAILING)
    if url[len(trimmed) :].startswith(")") and trimmed.count("(") > trimmed.count(")"):
        return f"{trimmed})"
    return trimmed


def _links_in(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth == 0:
        return
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        url = next((fields[n] for n in ("url", "link", "href", "uri") if n in fields), None)
        if isinstance(url, str) and (link := _BARE.match(url)):
            title = next((fields[n] for n in ("title", "name") if n in fields), "")
            yield _trim(link[0]), title if isinstance(title, str) else ""
        for inner in fields.values():
            yield from _links_in(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _links_in(inner, depth - 1)
    elif isinstance(value, str) and depth < _MAX_DEPTH and (link := _BARE.fullmatch(value)):
        yield _trim(link[0]), ""


def _decode(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return None


def make_hosted_record(
    wanted: Collection[str], targets: Mapping[str, HostedTarget]
) -> dict[str, str]:
    """Return the targets of these types as a response remembers them."""
    return {
        kind: "/".join(filter(None, (targets[kind].server, targets[kind].tool))) for kind in wanted
    }
