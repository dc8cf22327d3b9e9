/** Client of a server: operations, streams that resume, and conversations with tools. */

import {
  type Action,
  type Call,
  type Event,
  type NewMessage,
  Operations,
  type RequestOptions,
  type Run,
  type Upload,
} from "./api.ts";
import { Conversation, type Numbered, type Step } from "./conversation.ts";
import { AntiphonError, ConnectionLost, runError, type RunState } from "./errors.ts";
import { SseDecoder } from "./sse.ts";
import { type RemoteTool, runTool, type Tool, toSpec } from "./tools.ts";

export interface ClientOptions {
  /** Sent as `Authorization: Bearer`. */
  apiKey?: string;
  /** Seconds that a request may wait for its answer (60). */
  timeout?: number;
  /** How often a request is repeated after a failure that may pass (5). */
  maxRetries?: number;
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
}

/** Fields of a run that begins: those of `createRun`, without its thread. */
export type RunFields = Omit<Parameters<Operations["createRun"]>[0], "thread_id" | "tools">;

/** Settings of a conversation, besides those of its run. */
export interface ConverseOptions extends RunFields {
  thread_id?: string;
  /** Tools that run here, and those that run elsewhere. */
  tools?: readonly (Tool<never> | RemoteTool)[];
  /** Most calls that run at once (4). */
  maxTools?: number;
  /** Seconds that a call may take (120). */
  toolTimeout?: number;
  /** Decides calls of the server's own tools that wait for approval; without it they are refused. */
  approve?: (action: { name: string; arguments: Record<string, unknown>; server?: string | null }) => boolean | Promise<boolean>;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** What a conversation came to. */
export interface Result {
  text: string;
  runId: string;
  threadId: string;
  status: Run["status"];
}

const PAUSES = [0, 0.1, 0.3, 1, 3];
const LAST_PAUSE = 5;
const USER_AGENT = "antiphon-client-typescript/0.1.0";

/**
 * A server at an address.
 *
 *     const client = new Client("http://127.0.0.1:8000");
 *     const { text } = await client.ask("When is the flight?", { tools: [getFlightTimes] });
 */
export class Client extends Operations {
  readonly #base: string;
  readonly #options: Required<Omit<ClientOptions, "apiKey">> & { apiKey: string | undefined };

  constructor(server: string, options: ClientOptions = {}) {
    super();
    const { protocol } = new URL(server);
    if (protocol !== "http:" && protocol !== "https:") throw new TypeError(`A server has an address of http or https, not ${protocol}`);
    this.#base = server.replace(/\/+$/, "");
    this.#options = {
      apiKey: options.apiKey,
      timeout: options.timeout ?? 60,
      maxRetries: options.maxRetries ?? 5,
      headers: options.headers ?? {},
      fetch: options.fetch ?? ((...given) => fetch(...given)),
    };
  }

  /** Iterates over all pages of a list: `for await (const run of client.paginate((after) => client.listRuns({ after })))`. */
  async *paginate<T>(list: (after: string | undefined) => Promise<{ data: T[]; has_more: boolean; next?: string | null }>): AsyncGenerator<T, void, undefined> {
    let after: string | undefined;
    do {
      const page: { data: T[]; has_more: boolean; next?: string | null } = await list(after);
      yield* page.data;
      after = page.has_more ? (page.next ?? undefined) : undefined;
    } while (after !== undefined);
  }

  /** Uploads a file; `purpose` is a word of this program, by which `listFiles` finds it. */
  async uploadFile(
    content: Blob | Uint8Array<ArrayBuffer> | string,
    name: string,
    options: RequestOptions & { purpose?: string } = {},
  ): Promise<Upload> {
    const blob = content instanceof Blob ? content : new Blob([content]);
    const query = new URLSearchParams({ name, ...(options.purpose === undefined ? {} : { purpose: options.purpose }) });
    const response = await this.#fetch("POST", `/v1/files?${query}`, {
      body: blob,
      headers: { "content-type": blob.type || "application/octet-stream", "idempotency-key": options.idempotencyKey ?? crypto.randomUUID() },
      signal: options.signal,
    });
    return (await response.json()) as Upload;
  }

  /** Returns the bytes of an uploaded file. */
  async downloadFile(file_id: string, options: RequestOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const response = await this.#fetch("GET", `/v1/files/${encodeURIComponent(file_id)}/content`, { signal: options.signal });
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Streams a run's events after number `after` until the run ends, over lost connections. */
  events(run_id: string, options: { after?: number; types?: string; signal?: AbortSignal } = {}): AsyncGenerator<Numbered, void, undefined> {
    return this.#stream(followCall(run_id, options.after ?? 0, options.types), { signal: options.signal, isWholeRun: true });
  }

  /** Starts a run, or the next turn of `run_id`, and streams the turn's events. */
  process(
    fields: RunFields & { thread_id?: string; run_id?: string; message?: NewMessage; tools?: ReturnType<typeof toSpec>[]; force_refresh?: boolean },
    options: RequestOptions = {},
  ): AsyncGenerator<Numbered, void, undefined> {
    const call: Call = { method: "POST", path: "/v1/process", fields: { ...fields }, creates: true };
    return this.#stream(call, { ...options, isWholeRun: false });
  }

  /**
   * Runs a conversation from a message to the final answer, with the tools run here.
   *
   * Yields each event once, with its number. Throws the `RunError` of a run that does not complete,
   * after its last event. Leaving the loop cancels the tools that run, and not the run: `resume`
   * goes on with it. With null as the text, a `thread_id` and `continues`, the last answer of the
   * thread goes on, which was cut, and the result has the rest of it.
   */
  converse(text: NewMessage["content"] | null, options: ConverseOptions = {}): AsyncGenerator<Numbered, Result, undefined> {
    return this.#converse(text, null, null, options);
  }

  /**
   * Goes on with a run, wherever it stands; with `after`, all later events come first. A call of a
   * tool that is not among `tools` stays pending, and an error is thrown after the others.
   */
  resume(run_id: string, options: Omit<ConverseOptions, keyof RunFields> & { after?: number } = {}): AsyncGenerator<Numbered, Result, undefined> {
    return this.#converse(null, run_id, options.after ?? null, options);
  }

  /** Runs a conversation to its end, as `converse`, and returns its answer. */
  async ask(text: NewMessage["content"] | null, options: ConverseOptions = {}): Promise<Result> {
    const events = this.converse(text, options);
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
    }
  }

  async *#converse(text: NewMessage["content"] | null, runId: string | null, after: number | null, options: ConverseOptions): AsyncGenerator<Numbered, Result, undefined> {
    const { tools = [], maxTools = 4, toolTimeout = 120, approve, idempotencyKey, signal, ...fields } = options;
    const own = new Map(tools.filter((each) => each.run !== undefined).map((each) => [each.name, each as Tool<never>]));
    const elsewhere = tools.filter((each) => each.run === undefined).map(({ name }) => name);
    const conversation = new Conversation({ runId, after, elsewhere, replayed: idempotencyKey !== undefined });
    const specs = tools.map(toSpec);
    const leaving = new AbortController();
    const until = signal ? AbortSignal.any([signal, leaving.signal]) : leaving.signal;
    let first: Call | null =
      runId === null
        ? { method: "POST", path: "/v1/process", creates: true, fields: { ...fields, ...(text === null ? {} : { message: { content: text } }), ...(specs.length > 0 ? { tools: specs } : {}) } }
        : null;
    try {
      for (;;) {
        const step: Step = conversation.step;
        switch (step.step) {
          case "process":
          case "follow":
            try {
              const call: Call = step.step === "follow" ? followCall(step.run_id, step.after) : (first ?? processCall(step.run_id));
              const key = first ? idempotencyKey : undefined;
              first = null;
              yield* this.#read(conversation, step, call, until, key);
              conversation.endStream();
            } catch (error) {
              conversation.handleError(error);
            }
            break;
          case "list_pending":
            conversation.handleActions(await this.#listPending(step.run_id, until));
            break;
          case "execute": {
            // Of a run that another program began, calls of its tools are left to it.
            const foreign = runId === null ? [] : await this.#findForeign(step, own, until);
            const actions = step.actions.filter(({ name }) => !foreign.includes(name));
            await this.#execute({ ...step, actions }, conversation, own, { maxTools, toolTimeout, approve, signal: until });
            if (foreign.length > 0) throw new AntiphonError("invalid_request", `The run waits for ${foreign.join(", ")}, which this program does not have. The calls are still pending.`);
            conversation.finishOutputs();
            break;
          }
          case "fetch_run":
            conversation.handleRun(await this.getRun(step.run_id, { signal: until }));
            break;
          case "finished": {
            const state = conversation.state as RunState;
            const error = runError(state);
            if (error) throw error;
            return { text: state.text, runId: state.runId, threadId: state.threadId, status: state.status };
          }
        }
      }
    } finally {
      leaving.abort();
    }
  }

  /** Yields the new events of a step, after those that were missed. */
  async *#read(conversation: Conversation, step: Step, call: Call, signal: AbortSignal, key?: string): AsyncGenerator<Numbered, void, undefined> {
    const isWholeRun = step.step === "follow";
    for await (const numbered of this.#stream(call, { signal, isWholeRun, ...(key === undefined ? {} : { idempotencyKey: key }) })) {
      const missed = conversation.missedBefore(numbered.number);
      if (missed?.step === "follow") yield* this.#read(conversation, missed, followCall(missed.run_id, missed.after), signal);
      if (conversation.add(numbered)) yield numbered;
      if (conversation.hasReadEnough(step)) return;
    }
  }

  async #listPending(run_id: string, signal: AbortSignal): Promise<Action[]> {
    const pages = this.paginate((after) => this.listActions({ run_id, status: "pending", ...(after === undefined ? {} : { after }) }, { signal }));
    return Array.fromAsync(pages);
  }

  /** Runs the calls, a few at once; submits each output as soon as it is there. */
  /** Names of tools that the run offers, and that this program does not have. */
  async #findForeign(step: Step & { step: "execute" }, tools: ReadonlyMap<string, Tool<never>>, signal: AbortSignal): Promise<string[]> {
    const unknown = step.actions.filter(({ kind, name }) => kind !== "approval" && !tools.has(name)).map(({ name }) => name);
    if (unknown.length === 0) return [];
    const run = await this.getRun(step.run_id, { signal });
    return unknown.filter((name) => (run.tools ?? []).some((spec) => spec.name === name));
  }

  async #execute(
    step: Step & { step: "execute" },
    conversation: Conversation,
    tools: ReadonlyMap<string, Tool<never>>,
    how: { maxTools: number; toolTimeout: number; approve: ConverseOptions["approve"]; signal: AbortSignal },
  ): Promise<void> {
    const waiting = [...step.actions];
    let isOver = false;
    const work = async () => {
      for (let action = waiting.shift(); action && !isOver; action = waiting.shift()) {
        let result: { output: string; is_error: boolean };
        if (action.kind === "approval") {
          const isAllowed = how.approve ? await how.approve(action) : false;
          const reason = how.approve ? "" : "There is nobody to be asked.";
          result = { output: JSON.stringify(isAllowed ? { approve: true } : { approve: false, reason }), is_error: false };
        } else {
          const where = { runId: step.run_id, threadId: conversation.threadId, seconds: how.toolTimeout, signal: how.signal };
          result = await runTool(action, tools, where);
        }
        try {
          await this.submitToolOutput({ run_id: step.run_id, tool_call_id: action.tool_call_id, ...result }, { signal: how.signal });
        } catch (error) {
          const code = error instanceof AntiphonError ? error.code : "";
          if (code === "run_ended") isOver = true;
          else if (code !== "output_conflict") throw error; // another client's output is kept
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(how.maxTools, step.actions.length) }, work));
  }

  /** Yields the events of a streaming call, each once, over lost connections. */
  async *#stream(call: Call, options: RequestOptions & { isWholeRun: boolean }): AsyncGenerator<Numbered, void, undefined> {
    const types = call.fields["types"] as string | undefined;
    const key = options.idempotencyKey ?? crypto.randomUUID();
    let next = call;
    let last = typeof call.fields["after"] === "number" ? call.fields["after"] : null;
    let runId = typeof call.fields["run_id"] === "string" ? call.fields["run_id"] : null;
    let failures = 0;
    for (;;) {
      let hasEnded = false;
      try {
        const response = await this.#send(next, { ...options, idempotencyKey: key }, { isStream: true });
        for await (const frame of readFrames(response)) {
          const number = Number(frame.id);
          if (last !== null && number <= last) continue;
          if (last !== null && number !== last + 1 && types === undefined) throw new ConnectionLost(`Event ${number} came after event ${last}.`);
          const event = JSON.parse(frame.data) as Event;
          last = number;
          failures = 0;
          if (event.type === "run.status") runId = event.run_id;
          hasEnded = options.isWholeRun ? hasRunEnded(event, hasEnded) : event.type === "turn.ended";
          yield { number, event };
          if (hasEnded && !options.isWholeRun) return;
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        const isTemporary = error instanceof AntiphonError && error.isTemporary;
        if (!isTemporary || failures >= this.#options.maxRetries) throw error;
        await pause(failures++, error, options.signal);
        if (last !== null && runId !== null) next = followCall(runId, last, types);
        continue;
      }
      // The connection of a whole run is closed after its last event.
      if (options.isWholeRun && hasEnded) return;
      if (options.isWholeRun && runId !== null && (await this.#isOver(runId, last ?? 0, options.signal))) return;
      if (failures >= this.#options.maxRetries) throw new ConnectionLost("The stream ended before its last event.");
      await pause(failures++, null, options.signal);
      if (last !== null && runId !== null) next = followCall(runId, last, types);
    }
  }

  /** Whether the run has ended and has no events after this number. */
  async #isOver(run_id: string, after: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { data, ended } = await this.listEvents(run_id, { after }, signal ? { signal } : {});
    return ended && data.length === 0;
  }

  protected override async send<T>(call: Call, options: RequestOptions = {}): Promise<T> {
    const response = await this.#send(call, options);
    return (await response.json()) as T;
  }

  #send(call: Call, options: { signal?: AbortSignal | undefined; idempotencyKey?: string | undefined }, how: { isStream?: boolean } = {}): Promise<Response> {
    const hasBody = call.method !== "GET" && call.method !== "DELETE";
    const headers: Record<string, string> = { accept: how.isStream ? "text/event-stream" : "application/json" };
    if (hasBody) headers["content-type"] = "application/json";
    if (call.creates) headers["idempotency-key"] = options.idempotencyKey ?? crypto.randomUUID();
    const path = hasBody ? call.path : `${call.path}${toQuery(call.fields)}`;
    const body = hasBody ? JSON.stringify(call.fields) : null;
    return this.#fetch(call.method, path, { body, headers, signal: options.signal }, { isStream: how.isStream ?? false });
  }

  /** Sends a request until it is answered; a stream is not repeated here. */
  async #fetch(
    method: string,
    path: string,
    init: { body?: BodyInit | null; headers?: Record<string, string>; signal?: AbortSignal | undefined },
    how: { isStream?: boolean } = {},
  ): Promise<Response> {
    const { apiKey, timeout, maxRetries, headers, fetch } = this.#options;
    const allHeaders = { "user-agent": USER_AGENT, ...headers, ...init.headers, ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }) };
    for (let failures = 0; ; failures++) {
      const patience = new AbortController();
      const timer = setTimeout(() => patience.abort(), timeout * 1000);
      const signal = init.signal ? AbortSignal.any([init.signal, patience.signal]) : patience.signal;
      try {
        const request: RequestInit = { method, headers: allHeaders, body: init.body ?? null, signal, redirect: "error" };
        const response = await fetch(`${this.#base}${path}`, request).catch((error: unknown) => {
          init.signal?.throwIfAborted();
          throw new ConnectionLost(patience.signal.aborted ? `No answer within ${timeout} s.` : `The server cannot be reached: ${describe(error)}`);
        });
        if (!response.ok) throw await readProblem(response);
        return response;
      } catch (error) {
        const isTemporary = error instanceof AntiphonError && error.isTemporary;
        if (how.isStream || !isTemporary || failures >= maxRetries) throw error;
        await pause(failures, error, init.signal);
      } finally {
        clearTimeout(timer);
      }
    }
  }
}

function followCall(runId: string, after: number, types?: string): Call {
  const fields = { after, ...(types === undefined ? {} : { types }) };
  return { method: "GET", path: `/v1/runs/${encodeURIComponent(runId)}/events`, fields: { ...fields }, creates: false };
}

function processCall(run_id: string | null): Call {
  return { method: "POST", path: "/v1/process", fields: { run_id, force_refresh: true }, creates: true };
}

function hasRunEnded(event: Event, before: boolean): boolean {
  if (event.type === "turn.ended") return event.status === "completed" || event.status === "incomplete" || event.status === "failed" || before;
  if (event.type === "run.status") return ["expired", "cancelled"].includes(event.status) || before;
  return before;
}

async function* readFrames(response: Response) {
  const decoder = new SseDecoder();
  const text = new TextDecoder();
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new ConnectionLost(`The connection was cut: ${describe(error)}`);
      });
      if (done) return;
      yield* decoder.feed(text.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {}); // the connection of a stream that is left
  }
}

/** Returns the error of a response: a problem document of RFC 9457, or whatever a proxy says. */
async function readProblem(response: Response): Promise<AntiphonError> {
  const text = await response.text().catch(() => "");
  let problem: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) problem = parsed as Record<string, unknown>;
  } catch {
    // not from the server itself
  }
  const { code, detail, ...details } = problem;
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  if (Number.isFinite(retryAfter)) details["retry_after"] = retryAfter;
  const isTemporary = response.status === 502 || response.status === 503 || response.status === 504;
  const known = typeof code === "string" ? code : isTemporary ? "unavailable" : "invalid_request";
  const requestId = response.headers.get("x-request-id");
  const message = typeof detail === "string" ? detail : `The server answered ${response.status}: ${text.slice(0, 200)}`;
  return new AntiphonError(known, message, { status: response.status, details, ...(requestId === null ? {} : { requestId }) });
}

/** Waits before the next attempt: longer each time, and at least as long as the server asks for. */
async function pause(failures: number, error: unknown, signal?: AbortSignal): Promise<void> {
  const asked = error instanceof AntiphonError ? Number(error.details["retry_after"] ?? 0) : 0;
  const seconds = Math.max(asked, (PAUSES[failures] ?? LAST_PAUSE) * (0.5 + Math.random() / 2));
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      signal?.removeEventListener("abort", left);
      resolve();
    }
    function left() {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    if (signal?.aborted) left();
    else signal?.addEventListener("abort", left, { once: true });
  });
}

function toQuery(fields: Record<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    if (typeof value === "object") for (const [key, each] of Object.entries(value)) query.append(`${name}[${key}]`, String(each));
    else query.append(name, String(value));
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}
