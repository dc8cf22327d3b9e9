/** Recorded conversations, step by step: the Python client is driven by the same ones. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { Action, Run } from "../src/api.ts";
import { Conversation, type Numbered, type Step } from "../src/conversation.ts";
import { AntiphonError } from "../src/errors.ts";

interface Exchange {
  step: Record<string, unknown>;
  events?: Numbered[];
  missed?: { step: Record<string, unknown>; events: Numbered[] };
  error?: { code: string; last_event: number };
  actions?: Action[];
  outputs?: true;
  run?: Run["status"];
}

interface Case {
  name: string;
  run_id?: string;
  after?: number;
  elsewhere?: string[];
  replayed?: boolean;
  exchange: Exchange[];
  status: string;
  text: string | null;
}

const FILE = new URL("../../../tests/support/client/conversation_cases.json", import.meta.url);
const cases = JSON.parse(readFileSync(FILE, "utf8")) as Case[];

/** The step as a case writes it. */
function plain(step: Step): Record<string, unknown> {
  if (step.step !== "execute") return { ...step };
  return { step: step.step, run_id: step.run_id, calls: step.actions.map(({ tool_call_id }) => tool_call_id) };
}

/** Has the events of a step read one by one, those that were missed before them. */
function read(conversation: Conversation, step: Step, exchange: Pick<Exchange, "events" | "missed">): void {
  for (const numbered of exchange.events ?? []) {
    const missed = conversation.missedBefore(numbered.number);
    if (missed) {
      assert.deepEqual(plain(missed), exchange.missed?.step);
      read(conversation, missed, { events: exchange.missed?.events ?? [] });
    }
    conversation.add(numbered);
    if (conversation.hasReadEnough(step)) return;
  }
}

for (const recorded of cases) {
  test(recorded.name, () => {
    const conversation = new Conversation({
      runId: recorded.run_id ?? null,
      after: recorded.after ?? null,
      elsewhere: recorded.elsewhere ?? [],
      replayed: recorded.replayed ?? false,
    });
    for (const exchange of recorded.exchange) {
      const { step } = conversation;
      assert.deepEqual(plain(step), exchange.step);
      if (exchange.events) {
        read(conversation, step, exchange);
        conversation.endStream();
      } else if (exchange.error) {
        const { code, last_event } = exchange.error;
        conversation.handleError(new AntiphonError(code, "refused", { details: { last_event } }));
      } else if (exchange.actions) conversation.handleActions(exchange.actions);
      else if (exchange.outputs) conversation.finishOutputs();
      else if (exchange.run) {
        const run = { id: "run_1", thread_id: "thread_1", status: exchange.run, reason: null, error: null };
        conversation.handleRun(run as Run);
      }
    }
    assert.equal(conversation.status, recorded.status);
    assert.equal(conversation.text, recorded.text ?? "");
  });
}
