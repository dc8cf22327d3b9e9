"""The UI Message Stream of the AI SDK, for `useChat` and the page."""
