/**
 * Ids that the page makes: nobody guesses one, and no two are alike.
 *
 * @module
 */

const BYTES = 16;

/** Not `crypto.randomUUID`, which there is only behind https and on the machine itself. */
export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(BYTES))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
