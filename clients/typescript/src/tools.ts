/** Tools that run where this program runs. */

/** What a tool learns of its call. */
export interface ToolContext {
  /** Id of the call; the same id again is the same call, repeated after a crash. */
  callId: string;
  name: string;
  runId: string;
  threadId: string;
  /** Aborted when the call has timed out, or nobody waits for it any more. */
  signal: AbortSignal;
}

/** A tool: what the model is told of it, and the function that runs. */
export interface Tool<Arguments = Record<string, unknown>> {
  name: string;
  description?: string;
  /** JSON Schema of type object; by default no parameters. */
  parameters?: Record<string, unknown>;
  /** Seconds that a call may take; by default those of the conversation. */
  timeout?: number;
  /** A returned string is submitted as it is, any other value as JSON. What it throws, the model reads. */
  run(this: void, args: Arguments, context: ToolContext): unknown;
}

/** A tool that runs elsewhere, such as in a worker: the model may call it, and its output is waited for. */
export interface RemoteTool {
  name: string;
  description?: string;
  parameters?: Record<string, unknown>;
  run?: never;
}

/** A call of the model. */
export interface ToolCall {
  tool_call_id: string;
  name: string;
  arguments: Record<string, unknown>;
}

/** What is submitted for a call. */
export interface ToolResult {
  output: string;
  is_error: boolean;
}

/** Returns the tool, with its arguments typed. */
export function tool<Arguments>(definition: Tool<Arguments>): Tool<Arguments> {
  return definition;
}

const NO_PARAMETERS = { type: "object", properties: {} };

/** Returns what the model is told of a tool. */
export function toSpec({ name, description, parameters }: Tool<never> | RemoteTool) {
  return { name, description: description ?? "", parameters: parameters ?? NO_PARAMETERS };
}

/** Runs one call. Whatever happens is a result, except that the conversation is left. */
export async function runTool(
  call: ToolCall,
  tools: ReadonlyMap<string, Tool<never>>,
  where: { runId: string; threadId: string; seconds: number; signal: AbortSignal },
): Promise<ToolResult> {
  const found = tools.get(call.name);
  if (!found) {
    const names = [...tools.keys()].join(", ") || "none";
    return { output: `There is no tool ${call.name} now. The tools are: ${names}.`, is_error: true };
  }
  const seconds = found.timeout ?? where.seconds;
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), seconds * 1000);
  const signal = AbortSignal.any([where.signal, ending.signal]);
  const ended = new Promise<"ended">((resolve) => signal.addEventListener("abort", () => resolve("ended"), { once: true }));
  const context: ToolContext = { callId: call.tool_call_id, name: call.name, runId: where.runId, threadId: where.threadId, signal };
  try {
    const working = Promise.resolve().then(() => found.run(call.arguments as never, context));
    working.catch(() => {}); // what is left behind may fail later
    const value = await Promise.race([working.then((value) => ({ value })), ended]);
    where.signal.throwIfAborted();
    if (value === "ended") {
      const text = `TimeoutError: ${call.name} gave no result within ${seconds} s; it may or may not have been carried out.`;
      return { output: text, is_error: true };
    }
    return { output: toOutput(value.value), is_error: false };
  } catch (error) {
    where.signal.throwIfAborted();
    return { output: error instanceof Error ? `${error.name}: ${error.message}` : String(error), is_error: true };
  } finally {
    clearTimeout(timer);
  }
}

function toOutput(value: unknown): string {
  if (typeof value === "string") return value.toWellFormed();
  return (JSON.stringify(value) ?? "null").toWellFormed();
}
