"""The catalogue of faults of servers: reports of each, what Antiphon does, and its tests.

Every row names the scenarios of `upstream.py` with the fault; every scenario has a row. The page
docs/reference/quirks.md is generated from this table.
"""

from __future__ import annotations

from typing import NamedTuple


class Quirk(NamedTuple):
    """One row. Reports are `owner/repository#number`; a recording is named by its file."""

    number: int
    arrives: str
    does: str
    reports: tuple[str, ...]
    scenarios: tuple[str, ...]


CATALOGUE = (
    Quirk(
        1,
        "all parallel calls carry `index: 0`",
        "a new id, or a name after whole arguments, opens a new call",
        (
            "ollama/ollama#15457",
            "ollama/ollama#15497",
            "vercel/ai#14277",
            "LibreChat-AI/agents#260",
            "ai-dynamo/dynamo#4723",
            "su-kaka/gcli2api#406",
        ),
        ("t_index0_all", "t_index0_all_frag", "t_index0_names"),
    ),
    Quirk(
        2,
        "`index` missing or null",
        "never taken as 0: id, then position, then the last open call",
        (
            "ollama/ollama#7881",
            "openai/openai-python#2806",
            "openai/openai-python#3246",
            "SamSaffron/term-llm#314",
            "AstrBotDevs/AstrBot#6661",
            "open-webui/computer#224",
        ),
        (
            "t_no_index_single",
            "t_no_index_parallel",
            "t_no_index_ids",
            "t_no_index_frag_parallel",
            "t_null_index",
            "t_index_starts_1",
            "t_index_gap",
            "t_interleaved",
        ),
    ),
    Quirk(
        3,
        "second call's arguments on the first one's index, no id",
        "ambiguous, so broken: `invalid_tool_call`",
        ("dyedd/lens#49",),
        ("t_second_args_on_first",),
    ),
    Quirk(
        4,
        "id missing, empty or null",
        "an id of ours; an empty id never overwrites one",
        ("Arize-ai/phoenix#11376", "BerriAI/litellm#19223", "oracle/langchain-oracle#91"),
        ("t_no_id", "t_null_id", "t_empty_id_repeat", "t_late_id", "t_legacy_function_call"),
    ),
    Quirk(
        5,
        "the same id on two parallel calls",
        "an id of ours for the second, the provider's kept beside it",
        (),
        ("t_dup_ids", "t_empty_ids_parallel"),
    ),
    Quirk(
        6,
        "name, id or type repeated on every chunk or on the last",
        "set once, never appended",
        ("vllm-project/vllm#44098", "ggml-org/llama.cpp#12379", "ggml-org/llama.cpp#13800"),
        ("t_meta_repeat", "t_meta_on_last", "t_said_again_whole"),
    ),
    Quirk(
        7,
        "arguments in one piece, or in many",
        "both",
        (),
        ("t_one_piece", "t_normal", "t_args_object", "t_spaced_args"),
    ),
    Quirk(
        8,
        '`""` or null as arguments of a tool without parameters',
        "`{}`",
        (
            "openai/openai-agents-js#664",
            "sigoden/aichat#1217",
            "langchain-ai/langchainjs#11383",
            "openai/openai-python#3502",
        ),
        ("t_empty_args", "t_null_args", "t_null_text_args", "t_no_args"),
    ),
    Quirk(
        9,
        "arguments cut off or invalid",
        "`invalid_tool_call` or `incomplete`, never `{}`",
        ("anthropics/claude-code#67765", "open-webui/computer#252"),
        (
            "t_invalid_json",
            "t_truncated_args",
            "t_truncated_args_length",
            "t_missing_closer",
            "t_args_no_object",
            "t_one_broken_of_two",
            "t_bad_utf8",
            "t_no_name",
            "t_unknown_name",
            "t_deep_args",
            "t_nan_args",
            "t_big_integer_args",
            "t_duplicate_keys",
        ),
    ),
    Quirk(
        10,
        "`finish_reason: stop` although there are calls",
        "the calls decide, not the word",
        (
            "BerriAI/litellm#12862",
            "BerriAI/litellm#12249",
            "googleapis/python-genai#2868",
            "vllm-project/vllm#9209",
            "vllm-project/vllm#25054",
        ),
        (
            "t_finish_stop",
            "t_finish_without_call",
            "t_finish_without_call_but_text",
            "unknown_finish",
        ),
    ),
    Quirk(
        11,
        "no `finish_reason`, only `[DONE]`",
        "accepted with `[DONE]`; without both, `incomplete`",
        ("openclaw/openclaw#98575", "vllm-project/vllm#27572"),
        ("t_no_finish", "done_no_finish", "no_done"),
    ),
    Quirk(
        12,
        "text or arguments on the finish chunk",
        "delta first, then the finish",
        ("vllm-project/vllm#36944", "vllm-project/vllm#35705", "vllm-project/vllm-ascend#8327"),
        (
            "finish_with_content",
            "finish_empty_string",
            "t_args_on_finish",
            "t_after_finish",
            "late_text",
            "usage_with_all",
            "t_content_and_tool",
        ),
    ),
    Quirk(
        13,
        "end of stream without any marker; or `[DONE]` and then no close",
        "`incomplete` (`disconnected`); at `[DONE]` it stops reading",
        (
            "maximhq/bifrost#5566",
            "maximhq/bifrost#5567",
            "Soju06/codex-lb#1833",
            "looplj/axonhub#2185",
            "ltmoerdani/opencode-copilot-chat#170",
        ),
        (
            "no_finish_no_done",
            "truncated_json",
            "truncated_close",
            "truncated_utf8",
            "half_done",
            "reset_mid",
            "page_midstream",
            "done_no_close",
            "done_then_more",
            "finish_no_close",
            "finish_no_blank",
            "finish_then_reset",
            "finish_twice",
            "t_whole_then_cut",
            "t_whole_then_close",
            "t_whole_then_reset",
        ),
    ),
    Quirk(
        14,
        "`reasoning_content`, `reasoning`, `reasoning_details`, or `<think>` in the text",
        (
            "all spellings read, never two of them for one chunk; empty is not present; `<think>`"
            " by a provider flag"
        ),
        (
            "vllm-project/vllm#27755",
            "vllm-project/vllm#33402",
            "vllm-project/vllm#50624",
            "BerriAI/litellm#20246",
            "BerriAI/litellm#20821",
            "BerriAI/litellm#22573",
            "strands-agents/harness-sdk#2354",
        ),
        (
            "reasoning_content",
            "reasoning",
            "reasoning_details",
            "two_reasonings",
            "reasoning_not_there",
            "content_list",
            "think_tags",
            "think_tags_declared",
            "think_tags_in_one",
            "tags_later_are_text",
        ),
    ),
    Quirk(
        15,
        "reasoning lost where it turns into text",
        "what is streamed is what is kept, reasoning too",
        ("vllm-project/vllm#42691", "vllm-project/vllm#41691"),
        ("reasoning_turns_to_text",),
    ),
    Quirk(
        16,
        "text cumulative instead of delta",
        (
            "the piece is cut to what is new where the provider is declared `cumulative`. A "
            "server that is given by its address alone is believed only after eight pieces in a "
            "row that each repeat the whole one before, when that is longer than any token; until"
            " then a repetition is held back, and what proves nothing is left as it is: guessing "
            'would corrupt "haha"'
        ),
        ("QwenLM/qwen-code#3896", "tashfeenahmed/freellmapi#1007"),
        (
            "cumulative",
            "cumulative_declared",
            "cumulative_long",
            "cumulative_reasoning",
            "repeats_itself",
            "repeats_to_its_end",
            "repeats_and_is_cut",
        ),
    ),
    Quirk(
        17,
        "last chunk holds the full `message`",
        "ignored after deltas, used if there were none",
        ("abundantbeing/hermes-browser-extension#11",),
        ("final_full_message", "only_full_message"),
    ),
    Quirk(
        18,
        "usage on every chunk; or alone with `choices: []`",
        "`choices` may be empty; usage never means the end; the last one counts",
        ("memex-lab/dart_agent_core#23",),
        ("usage_final", "usage_every", "usage_null"),
    ),
    Quirk(
        19,
        (
            "Azure: first chunk `choices: []` with `prompt_filter_results`, late choice without "
            "`delta`"
        ),
        "both tolerated",
        (
            "microsoft/semantic-kernel#3650",
            "langchain-ai/langchain#18977",
            "microsoft/autogen#6465",
        ),
        ("azure_prefilter", "azure_postfilter_nodelta", "nothing_in_it"),
    ),
    Quirk(
        20,
        "an error in mid-stream: object, `event: error`, raw text",
        "`failed` (`provider_error`) with upstream's message",
        (
            "openai/openai-python#2487",
            "openai/openai-python#2796",
            "openai/openai-python#2722",
            "openai/openai-python#3038",
            "openai/openai-python#3587",
            "openai/openai-python#2943",
            "aaif-goose/goose#8027",
            "mozilla-ai/any-llm#847",
            "lucasjinreal/Crane#121",
        ),
        (
            "err_midstream",
            "err_event_top",
            "err_event_text",
            "err_object",
            "err_raw_text",
            "err_json_text",
            "err_in_choice",
            "t_whole_then_error",
        ),
    ),
    Quirk(
        21,
        "200 with JSON, HTML or nothing; or SSE under a JSON content type",
        (
            "type read *and* body sniffed; a whole completion is one chunk; nothing at all is an "
            "error"
        ),
        (
            "a2aproject/a2a-rs#79",
            "a2aproject/a2a-rs#134",
            "decolua/9router#3051",
            "openclaw/openclaw#97474",
        ),
        (
            "http200_json_completion",
            "json_ct_sse_body",
            "http200_json_error",
            "http200_json_list_error",
            "http200_json_detail",
            "http200_html",
            "http200_html_no_close",
            "http200_text",
            "http200_empty",
            "http200_blank",
            "http200_other_json",
            "http200_deep",
            "lone_done",
            "only_comments",
            "t_whole_completion",
        ),
    ),
    Quirk(
        22,
        "keep-alive comments, an event with only `retry:`",
        (
            "a parser by the SSE standard; comments count as life where the provider is declared "
            "so, and never extend the time for the whole reply"
        ),
        ("docker/docker-agent#2349", "mnfst/llm-gateway#2053", "openai/openai-python#2722"),
        (
            "comments",
            "retry_only",
            "comments_forever",
            "ping_events",
            "event_field",
            "odd_fields",
        ),
    ),
    Quirk(
        23,
        "a UTF-8 character split between reads",
        "incremental decoder",
        (
            "api7/aisix#111",
            "librefang/librefang#3448",
            "musistudio/claude-code-router#1672",
            "agentclientprotocol/python-sdk#135",
        ),
        ("frag1", "bad_utf8"),
    ),
    Quirk(
        24,
        "one huge line",
        "own line buffer with a cap and a named error",
        (
            "aio-libs/aiohttp#4453",
            "open-webui/open-webui#10302",
            "open-webui/open-webui#24928",
            "googleapis/python-genai#2248",
            "microsoft/Agents-for-python#507",
            "NVIDIA/TensorRT-LLM#13952",
        ),
        ("huge_line", "over_cap"),
    ),
    Quirk(
        25,
        "a stall, no bytes for hours",
        (
            "deadlines for connecting, the first chunk, each chunk and the whole turn; bytes that"
            " complete nothing are silence"
        ),
        ("microsoft/amplifier#339", "agent0ai/agent-zero#1882", "anomalyco/opencode#29348"),
        ("stall", "stall_first", "stall_head", "drip", "slow_first_byte", "endless"),
    ),
    Quirk(
        26,
        "`Retry-After` in seconds, as a date, or enormous",
        "both forms, cap 120 s",
        ("openai/openai-python#3555", "CopilotKit/CopilotKit#3842"),
        ("429", "429_late", "429_once", "503_twice"),
    ),
    Quirk(
        27,
        "a tool call that leaks as text (`<tool_call>` XML)",
        "stays text; where the provider is declared `leaked_calls`, a call",
        (
            "vllm-project/vllm#36435",
            "sgl-project/sglang#3387",
            "HKUDS/nanobot#4124",
            "openclaw/openclaw#63999",
        ),
        (
            "t_leaked_undeclared",
            "t_leaked",
            "t_leaked_parallel",
            "t_leaked_broken",
            "t_leaked_cut",
        ),
    ),
    Quirk(
        28,
        "two SSE frames glued together",
        "broken JSON: `provider_protocol`, sample kept",
        ("anomalyco/opencode#8282",),
        ("glued", "broken_json"),
    ),
    Quirk(
        29,
        "Gemini's `extra_content.google.thought_signature` must come back",
        "stored with its call, returned with it",
        ("open-webui/computer#224",),
        ("t_extra_content",),
    ),
    Quirk(
        30,
        "tools together with streaming unsupported (500)",
        (
            'upstream\'s message is shown; with `stream = "without_tools"`, or `false`, it is '
            "asked without streaming and its whole answer read as one chunk"
        ),
        ("abetlen/llama-cpp-python#1883",),
        ("t_no_stream", "t_no_stream_undeclared"),
    ),
    Quirk(
        31,
        (
            "lines that end in CR, CRLF or a mixture, no space after `data:`, several `data:` "
            "lines, a byte order mark, no blank line at the end"
        ),
        (
            "lines end at LF, CR and CRLF and nowhere else; a last event without its blank line "
            "counts if it is whole"
        ),
        (),
        (
            "ok",
            "crlf",
            "cr_only",
            "mixed_lines",
            "no_space",
            "bom",
            "multi_data_line",
            "last_event_no_blank",
        ),
    ),
    Quirk(
        32,
        "half a surrogate pair, NUL, escapes",
        (
            "a high surrogate waits for its other half in the next piece; alone it becomes "
            "U+FFFD, and so does NUL; escapes are kept and defused where they are shown"
        ),
        (),
        ("split_surrogates", "lone_surrogate", "lone_surrogate_at_end", "nul_and_esc"),
    ),
    Quirk(
        33,
        ("JSON made to break its reader: depth, endless integers, `NaN`, fields of the wrong type"),
        "`provider_protocol`; of duplicate keys the last wins",
        (),
        (
            "deep",
            "deep_content",
            "deep_reasoning",
            "big_integer",
            "nan",
            "no_choices_list",
            "duplicate_keys",
        ),
    ),
    Quirk(
        34,
        "a compressed answer, or one made to burst",
        "inflated; the caps count inflated bytes",
        (),
        ("gzip", "gzip_bomb"),
    ),
    Quirk(
        35,
        "a reply cut by the limit of its length, or by a filter, whatever else it holds",
        "`incomplete` (`length`, `content_filter`), and no call is handed out",
        (),
        (
            "length",
            "length_in_other_words",
            "length_after_stop",
            "content_filter",
            "t_content_filter",
            "t_whole_then_length",
        ),
    ),
    Quirk(
        36,
        "a refusal by its status, a redirect, a server that is not there",
        (
            "`provider_auth`, `provider_rejected` or `provider_unavailable`, after retries where "
            "those may help; no key is repeated, no redirect followed"
        ),
        (),
        (
            "400",
            "401",
            "403",
            "404_text",
            "307",
            "500",
            "502_html",
            "reset_first",
            "reset_once",
        ),
    ),
    Quirk(
        37,
        "an error in a line of its own, under a field that no SSE parser knows: `error: {...}`",
        "`failed` (`provider_error`) with upstream's message, whether `[DONE]` follows or not",
        ("ggml-org/llama.cpp#16109", "coddy-project/coddy-agent#106"),
        ("err_field", "err_field_done", "err_field_first", "err_field_text"),
    ),
    Quirk(
        38,
        (
            "a reply cut by the limit of its length under another word: `finish_reason: tool_calls`"
            " or `stop` beside `native_finish_reason: length`, `max_output_tokens`, `MAX_TOKENS`"
        ),
        "`incomplete` (`length`); no call is handed out, one cut before its arguments least of all",
        ("UKGovernmentBEIS/inspect_ai#5189", "NousResearch/hermes-agent#7693"),
        (
            "hidden_length",
            "t_hidden_length",
            "t_hidden_length_openai",
            "t_hidden_length_gemini",
            "t_native_word",
        ),
    ),
    Quirk(
        39,
        "`content` is a JSON object or a list of them, as in Cloudflare's JSON mode",
        "the text is its JSON, written compactly",
        ("cloudflare/workers-sdk#12398",),
        ("content_object", "content_object_list", "content_object_streamed"),
    ),
    Quirk(
        40,
        "more than one choice, though one was asked for",
        "the first one counts; what has an `index` above 0 is ignored, its end too",
        (),
        ("other_choices", "http200_json_other_choices"),
    ),
    Quirk(
        41,
        "`</think>` without `<think>`: the prompt's template has opened the thought",
        (
            "text, unless the provider is declared `think_prefilled`: then what stands before the"
            " tag is reasoning. A whole reply without the tag is said as text too, so that no"
            " answer is lost"
        ),
        ("cubist38/mlx-openai-server#179", "verl-project/verl#6434"),
        (
            "think_prefilled",
            "think_prefilled_declared",
            "think_prefilled_opened_too",
            "think_prefilled_not_closed",
            "think_prefilled_cut",
        ),
    ),
    Quirk(
        42,
        "a call in the text (`leaked_calls`) and once more where calls belong",
        "one call for each pair of the same name and arguments, under the id that it came with",
        (),
        ("t_leaked_too", "t_leaked_too_streamed", "t_leaked_too_whole", "t_leaked_twice"),
    ),
    Quirk(
        43,
        (
            "counts of tokens in other places and sums: `num_cached_tokens`, reasoning beside the"
            " completion, or more reasoning than completion in a total of both"
        ),
        (
            "one meaning: cached tokens are among the input, reasoning among the output, and never"
            " more of them"
        ),
        ("vercel/ai#14382", "router-for-me/CLIProxyAPI#5733"),
        ("usage_cached_mistral", "usage_reasoning_in_total"),
    ),
    Quirk(
        44,
        "`refusal` in place of content, streamed, whole, or as a part of a list",
        (
            "a part of its own, shown and kept; it goes back as `refusal` to OpenAI and Azure, as"
            " text to others (`refusal_back`)"
        ),
        (
            "openai/openai-agents-js#1495",
            "langchain4j/langchain4j#5814",
            "NousResearch/hermes-agent#91181",
        ),
        (
            "refusal",
            "refusal_whole",
            "refusal_after_text",
            "refusal_part",
            "refusal_then_cut",
            "refusal_null",
        ),
    ),
    Quirk(
        45,
        (
            "`reasoning_details` of OpenRouter and Vercel's gateway, without which Gemini 3 refuses"
            " the turn after a call"
        ),
        (
            "kept as they are with the message, in order, pieces joined by type and index; they go"
            " back to the server that gave them and to no other, unless `reasoning_details ="
            " false`. Of more than 256 kB in one reply none are kept"
        ),
        (
            "massgen/MassGen#624",
            "musistudio/claude-code-router#1057",
            "microsoft/agent-framework#2947",
            "RooCodeInc/Roo-Code#10640",
        ),
        (
            "t_details_gemini",
            "t_details_claude",
            "t_details_openai",
            "t_details_of_two_calls",
            "t_details_whole",
            "t_details_too_large",
        ),
    ),
)
