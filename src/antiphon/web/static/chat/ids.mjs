/**
 * Unique, unguessable ids.
 *
 * @module
 */

const BYTES = 16;

/** Returns a new id. `crypto.randomUUID` exists only over https and on localhost. */
export const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(BYTES))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
