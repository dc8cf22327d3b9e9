/** Errors, sorted by what the caller can do about them; `code` is stable. */

import type { Run } from "./api.ts";

/** Base of all errors. `details` are the other members of the server's problem document. */
export class AntiphonError extends Error {
  readonly code: string;
  /** Status of the response, if a server refused the request. */
  readonly status: number | undefined;
  /** The `X-Request-Id` of the response, which the server's log lines have too. */
  readonly requestId: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, more: { status?: number; requestId?: string; details?: Record<string, unknown> } = {}) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.status = more.status;
    this.requestId = more.requestId;
    this.details = more.details ?? {};
  }

  /** Whether the same request may succeed later. */
  get isTemporary(): boolean {
    return this.code === "unavailable" || this.code === "overloaded" || this.code === "connection_lost" || "retry_after" in this.details;
  }
}

/** The server could not be reached, or the connection was cut. */
export class ConnectionLost extends AntiphonError {
  constructor(message: string) {
    super("connection_lost", message);
  }
}

/** A run gave no answer. `text` is its reply so far. */
export class RunError extends AntiphonError {
  readonly runId: string;
  readonly threadId: string;
  readonly text: string;

  constructor(code: string, message: string, run: { runId: string; threadId: string; text: string }) {
    super(code, message);
    this.runId = run.runId;
    this.threadId = run.threadId;
    this.text = run.text;
  }
}

export class RunFailed extends RunError {}
export class RunIncomplete extends RunError {}
export class RunExpired extends RunError {}
export class RunCancelled extends RunError {}

/** How a run stands. */
export interface RunState {
  runId: string;
  threadId: string;
  status: Run["status"];
  reason: string | null;
  error: { code: string; message: string } | null;
  text: string;
}

/** The error of a run that has ended without completing; null for any other. */
export function runError(state: RunState): RunError | null {
  const { runId, status } = state;
  switch (status) {
    case "failed":
      return new RunFailed("run_failed", state.error ? `Run ${runId} failed: ${state.error.message} (${state.error.code})` : `Run ${runId} failed.`, state);
    case "incomplete":
      return new RunIncomplete("run_incomplete", `Run ${runId} is incomplete: ${state.reason ?? "unknown"}.`, state);
    case "expired":
      return new RunExpired("run_expired", `Run ${runId} has expired.`, state);
    case "cancelled":
      return new RunCancelled("run_cancelled", `Run ${runId} was cancelled.`, state);
    default:
      return null;
  }
}
