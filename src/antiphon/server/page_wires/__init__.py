"""The wires of pages in browsers, the AI SDK's and AG-UI's, under keys and under pages' tokens."""
