"""Streams of runs from servers of your own: Starlette, FastAPI, Flask and Django.

Each module has the same three functions: `stream_events` answers with the events of a conversation
that runs in your process, `stream_run` with those of any run, from where its reader stopped, and
`problem_response` with an error of Antiphon as a problem document.
"""
