"""The AG-UI protocol, for CopilotKit and `@ag-ui/client`."""
