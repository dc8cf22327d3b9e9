/**
 * The conversation loop as a state machine: stream a turn, run its tools, submit, repeat.
 *
 * It decides the next step and does no I/O. It is the twin of `antiphon/client/conversation.py`:
 * both are driven by the same recorded cases.
 */

import type { Action, Event, PendingAction, Run, Status } from "./api.ts";
import { AntiphonError, type RunState } from "./errors.ts";

/** An event with its number in the run. */
export interface Numbered {
  number: number;
  event: Event;
}

/** The next step of a conversation. */
export type Step =
  | { step: "process"; run_id: string | null }
  | { step: "follow"; run_id: string; after: number; until: number | null; until_resumed: boolean }
  | { step: "list_pending"; run_id: string }
  | { step: "execute"; run_id: string; actions: PendingAction[] }
  | { step: "fetch_run"; run_id: string }
  | { step: "finished" };

const ENDED: ReadonlySet<Status> = new Set(["completed", "incomplete", "failed", "cancelled", "expired"] as const);

/** The worker that has the calls of a page's own tools. */
const PAGE_WORKER = "page";

/** One run from its first or current turn to its end. Carry out `step`, then report its result. */
export class Conversation {
  step: Step;
  runId: string | null;
  threadId = "";
  status: Status | null = null;
  reason: string | null = null;
  error: { code: string; message: string } | null = null;
  /** Text of the last reply. */
  text = "";
  lastEvent: number;
  readonly #elsewhere: Set<string>;
  /** Whether this conversation begins its run, so that no page has named tools of it. */
  readonly #isNew: boolean;
  readonly #resumed: boolean;
  /** Number of the newest event from before this conversation. */
  #unread = 0;
  /** Whether the first request may have been sent before, by an idempotency key. */
  #replayed: boolean;
  #waiting = new Map<string, PendingAction>();

  constructor(given: { runId?: string | null; after?: number | null; elsewhere?: Iterable<string>; replayed?: boolean } = {}) {
    this.runId = given.runId ?? null;
    this.lastEvent = given.after ?? 0;
    this.#resumed = given.after !== undefined && given.after !== null;
    this.#elsewhere = new Set(given.elsewhere ?? []);
    this.#isNew = (given.runId ?? null) === null;
    this.#replayed = given.replayed ?? false;
    this.step = { step: "process", run_id: this.runId };
  }

  /** The run as it stands. */
  get state(): RunState | null {
    if (this.runId === null || this.status === null) return null;
    const { runId, threadId, status, reason, error, text } = this;
    return { runId, threadId, status, reason, error, text };
  }

  /** Takes an event; false if it was there before. */
  add({ number, event }: Numbered): boolean {
    if (number <= this.lastEvent) return false;
    this.lastEvent = number;
    switch (event.type) {
      case "run.status":
        this.runId = event.run_id;
        this.threadId = event.thread_id;
        this.status = event.status;
        this.reason = event.reason ?? null;
        this.error = event.error ?? null;
        if (event.status !== "action_required") this.#waiting.clear();
        if (event.status === "in_progress") this.text = "";
        break;
      case "text.delta":
        this.text += event.text;
        break;
      case "turn.restarted":
        this.text = "";
        break;
      case "message.completed":
        if (event.message.role === "assistant") this.text = textOf(event.message.content);
        break;
      case "action.required":
        this.#waiting = new Map(event.actions.map((action) => [action.tool_call_id, action]));
        break;
      case "tool_output.added":
        this.#waiting.delete(event.tool_call_id);
        break;
    }
    return true;
  }

  /** The step that reads the events between the last one and this number, if any are missing. */
  missedBefore(number: number): Step | null {
    if (this.step.step !== "process" || !this.#isOrdered || number - 1 <= this.lastEvent) return null;
    return { step: "follow", run_id: this.#id, after: this.lastEvent, until: number - 1, until_resumed: false };
  }

  /** Whether the stream of a step has given what it was for. */
  hasReadEnough(step: Step): boolean {
    if (step.step !== "follow") return false;
    if (step.until_resumed && this.status !== null && this.status !== "action_required") return true;
    return step.until !== null && this.lastEvent >= step.until;
  }

  endStream(): void {
    const isOwn = this.step.step === "process" && !this.#replayed;
    this.#replayed = false;
    if (this.status !== null && ENDED.has(this.status)) this.step = { step: "finished" };
    else if (isOwn && this.#isNew && this.#waiting.size > 0) this.step = this.#answer([...this.#waiting.values()]);
    else this.step = this.#listPending();
  }

  /** Decides the next step after an error of a stream; throws one that is not about the run's status. */
  handleError(error: unknown): void {
    const code = error instanceof AntiphonError ? error.code : "";
    if (!(error instanceof AntiphonError) || (code !== "outputs_missing" && code !== "run_ended")) throw error;
    const newest = (this.#unread = Number(error.details["last_event"] ?? this.lastEvent));
    if (this.#isOrdered && newest > this.lastEvent) {
      this.step = { step: "follow", run_id: this.#id, after: this.lastEvent, until: newest, until_resumed: false };
    } else if (code === "outputs_missing") this.step = this.#listPending();
    else this.step = { step: "fetch_run", run_id: this.#id };
  }

  handleActions(actions: readonly Action[]): void {
    // A page in a browser has chosen the names of its tools, which may be those of ours.
    // A worker that has claimed a call may have the same name; a claim is an attempt.
    for (const { name, worker, attempt } of actions) {
      if (worker === PAGE_WORKER && !attempt) this.#elsewhere.add(name);
    }
    const awaited = actions.filter((action) => action.status === "pending" && (action.runs_on === "client" || action.approval === "required"));
    this.step = awaited.length > 0 ? this.#answer(awaited.map(toPending)) : this.#nextTurn();
  }

  finishOutputs(): void {
    this.step = this.#elsewhere.size > 0 ? this.#listPending() : this.#nextTurn();
  }

  handleRun(run: Run): void {
    this.runId = run.id;
    this.threadId = run.thread_id;
    this.status = run.status;
    this.reason = run.reason;
    this.error = run.error;
    this.step = ENDED.has(run.status) ? { step: "finished" } : this.#listPending();
  }

  /** Whether the number of the next event is known. */
  get #isOrdered(): boolean {
    return this.#resumed || this.lastEvent > 0;
  }

  get #id(): string {
    if (this.runId === null) throw new AntiphonError("invalid_request", "The stream ended before the event that names its run.");
    return this.runId;
  }

  /** Runs the calls that are this client's; waits for the outputs of the others. */
  #answer(actions: PendingAction[]): Step {
    const own = actions.filter(({ name }) => !this.#elsewhere.has(name));
    if (own.length > 0) return { step: "execute", run_id: this.#id, actions: own };
    const after = this.#isOrdered ? this.lastEvent : this.#unread;
    return { step: "follow", run_id: this.#id, after, until: null, until_resumed: true };
  }

  #listPending(): Step {
    return { step: "list_pending", run_id: this.#id };
  }

  #nextTurn(): Step {
    return { step: "process", run_id: this.#id };
  }
}

function toPending(action: Action): PendingAction {
  return {
    action_id: action.id,
    tool_call_id: action.tool_call_id,
    name: action.name,
    arguments: action.arguments,
    expires_at: action.expires_at,
    ...(action.approval === "required" ? { kind: "approval" as const } : {}),
  };
}

function textOf(parts: readonly { type: string }[]): string {
  return parts.map((part) => ("text" in part && part.type === "text" ? String(part.text) : "")).join("");
}
