"""The words by which servers say why a reply ended, where they mean that it was cut.

Each family of models has its own: OpenAI's chat completions and Responses, Anthropic, Gemini,
Mistral. Compared without regard to case.
"""

from __future__ import annotations

from antiphon.runs import Reason

_CUT: dict[str, Reason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
}


def cut_reason(word: str | None) -> Reason | None:
    """Return why a reply that ended with this word is incomplete; None where it is whole."""
    return _CUT.get(word.lower()) if word else None
