/**
 * Server-sent events, read from text however it was cut, and the order of their ids.
 *
 * @module
 */

/** @typedef {{id: string | null, data: string}} ServerEvent */

/**
 * Creates a parser of server-sent events: pass text as it comes, and it returns the complete events.
 *
 * Its work grows with what is given, not with how finely it was cut. `comment` events are left out.
 *
 * @returns {(text: string) => ServerEvent[]}
 */
export function eventReader() {
  let line = "";
  let afterReturn = false;
  let id = null;
  /** @type {string[]} */
  let data = [];

  /** @param {string} whole @param {ServerEvent[]} events */
  const take = (whole, events) => {
    if (whole === "") {
      if (data.length) events.push({ id, data: data.join("\n") });
      id = null;
      data = [];
      return;
    }
    const colon = whole.indexOf(":");
    const name = colon < 0 ? whole : whole.slice(0, colon);
    const value = colon < 0 ? "" : whole.slice(colon + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    if (name === "id" && !value.includes("\0")) id = value;
  };

  return (text) => {
    /** @type {ServerEvent[]} */
    const events = [];
    const unread = afterReturn && text.startsWith("\n") ? text.slice(1) : text;
    if (text) afterReturn = text.endsWith("\r");
    const [first, ...rest] = unread.split(/\r\n|\n|\r/);
    line += first;
    for (const next of rest) {
      take(line, events);
      line = next;
    }
    return events;
  };
}

/**
 * Returns true if an event's id follows the cursor. An id is `<run>:<number>` for a whole event,
 * `<run>:<number>.<place>` for one of its frames. An id of another run always follows.
 *
 * @param {string} id
 * @param {string | null} cursor
 */
export function isAfter(id, cursor) {
  if (cursor === null) return true;
  const [run, number, place] = idParts(id);
  const [heldRun, heldNumber, heldPlace] = idParts(cursor);
  if (run !== heldRun) return true;
  return number === heldNumber ? place > heldPlace : number > heldNumber;
}

/** @param {string} id @returns {[string, number, number]} */
function idParts(id) {
  const colon = id.lastIndexOf(":");
  const [number, place] = id.slice(colon + 1).split(".");
  return [id.slice(0, colon), Number(number), place === undefined ? Infinity : Number(place)];
}
