/**
 * The message at which two open conversations divide, and what they have in common.
 *
 * @module
 */

import { BESIDE, MAIN } from "./store.mjs";

/** @typedef {import("./history.mjs").Message} Message */
/** @typedef {import("./store.mjs").Current["lineage"]} Lineage */

/**
 * Returns the number of the first message in which the open threads differ; null if they are not
 * versions of each other, undefined until they are loaded.
 */
export function findDivision() {
  const [one, other] = [MAIN.current.value, BESIDE.current.value];
  if (BESIDE.lost.value) return null;
  if (!one || !other) return undefined;
  return divisionOf(one.lineage, other.lineage);
}

/**
 * Returns the number of the first message that two threads do not have in common; null if they have no
 * common beginning, or are one.
 *
 * @param {Lineage} one @param {Lineage} other
 */
export function divisionOf(one, other) {
  if (one.at(-1)?.[0] !== other.at(-1)?.[0]) return null;
  const numbers = [...one, ...other].map(([, from]) => from).sort((first, second) => first - second);
  return numbers.find((number) => authorOf(one, number) !== authorOf(other, number)) ?? null;
}

/** Returns the id of the thread in which the message of this number was written. @param {Lineage} lineage @param {number} number */
const authorOf = (lineage, number) => lineage.find(([, from]) => from <= number)?.[0];

/** Returns true unless both threads have this message. @param {Message} message @param {number} begins  as `findDivision` gives it */
export const isOwn = ({ metadata }, begins) => (metadata.number ?? Infinity) >= begins;
