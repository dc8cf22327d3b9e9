"""Streams of runs from a FastAPI application, whose requests and responses are Starlette's.

    app.add_exception_handler(AntiphonError, problem_response)

    @app.post("/chat")
    async def chat(question: str) -> Response:
        return await stream_events(client.converse(question, tools=[get_flight_times]))

    @app.get("/runs/{run_id}/events")
    async def run(run_id: str, request: Request, user: SignedIn) -> Response:
        return await stream_run(client.on_behalf_of(user.id), run_id, request)

`SignedIn` stands for a dependency of your own, such as `Annotated[User, Depends(find_user)]`.
"""

from antiphon.integrations.starlette import problem_response as problem_response
from antiphon.integrations.starlette import stream_events as stream_events
from antiphon.integrations.starlette import stream_run as stream_run

__all__ = ["problem_response", "stream_events", "stream_run"]
