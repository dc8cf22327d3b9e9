"""OpenAI's API over the same runtime, under `/openai/v1`."""
