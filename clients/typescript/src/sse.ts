/** Server-sent events, decoded from pieces of text: https://html.spec.whatwg.org/multipage/server-sent-events.html */

/** One event; `id` is the last one sent. */
export interface Frame {
  id: string;
  event: string;
  data: string;
}

/** Cuts a stream into frames, however its text was split. */
export class SseDecoder {
  /** Milliseconds that the server asks to wait before reconnecting; undefined if it did not. */
  retry: number | undefined;
  #rest = "";
  #id = "";
  #begun = false;

  /** Returns the events that this text completes. */
  feed(text: string): Frame[] {
    let all = this.#rest + text;
    if (!this.#begun && all) {
      this.#begun = true;
      if (all.startsWith("\uFEFF")) all = all.slice(1);
    }
    // A CR at the end may be the first half of a line's end.
    const held = all.endsWith("\r") ? "\r" : "";
    const blocks = (held ? all.slice(0, -1) : all).replace(/\r\n?/g, "\n").split("\n\n");
    this.#rest = (blocks.pop() ?? "") + held;
    return blocks.map((block) => this.#frame(block)).filter((frame) => frame !== null);
  }

  #frame(block: string): Frame | null {
    let event = "";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") data.push(value);
      else if (name === "event") event = value;
      else if (name === "id" && !value.includes("\0")) this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    }
    return data.length > 0 ? { id: this.#id, event, data: data.join("\n") } : null;
  }
}
