"""OpenAI's wire: requests into our operations, our events into its responses, all pure."""
