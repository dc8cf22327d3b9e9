/** Client of Antiphon, a self-hosted assistant runtime: operations, streams that resume, and tools. */
export * from "./api.ts";
export { Client, type ClientOptions, type ConverseOptions, type Result, type RunFields } from "./client.ts";
export { type Numbered } from "./conversation.ts";
export { AntiphonError, ConnectionLost, RunCancelled, RunError, RunExpired, RunFailed, RunIncomplete } from "./errors.ts";
export { type RemoteTool, type Tool, tool, type ToolContext } from "./tools.ts";
