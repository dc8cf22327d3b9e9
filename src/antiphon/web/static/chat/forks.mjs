/**
 * Versions of a message that its switch leads to.
 *
 * @module
 */

/**
 * @typedef {object} Fork  messages at which branches differ
 * @property {number} number  of the message
 * @property {string[]} at  a thread for each version
 * @property {number} here  the version that is shown
 * @property {boolean} repeated  true if only the answers differ
 * @property {string[]} messages  for each version, the first thread that has its message
 * @property {string[]} columns  for each version, whose answers they are, where two models were compared
 */

/**
 * Returns the threads between which the switch of a column of a comparison goes, and the place of the
 * one that is shown: of a question the last answer to each of its versions, of an answer those to the
 * same question. Another model's versions are left out, and where no models were compared the version
 * in the other column.
 *
 * @param {Fork | undefined} fork  of the column's thread @param {Fork | undefined} other  that of the other column, at the same message
 * @param {boolean} question
 * @param {string} [shown]  id of the thread in the other column
 * @returns {{at: string[], here: number}}
 */
export function versionsBeside(fork, other, question, shown) {
  if (!fork) return { at: [], here: 0 };
  const column = fork.columns[fork.here];
  const isApart = other !== undefined && other.columns[other.here] !== column;
  const own = fork.at
    .map((id, place) => ({ id, place, message: fork.messages[place] }))
    .filter(({ id, place }) => place === fork.here || (isApart ? fork.columns[place] === column : id !== shown && place !== other?.here));
  const here = fork.messages[fork.here];
  if (!question) return placeIn(own.filter(({ message }) => message === here).map(({ id }) => id), fork.at[fork.here]);
  const messages = [...new Set(own.map(({ message }) => message))];
  const last = (/** @type {string} */ message) => (message === here ? fork.at[fork.here] : own.findLast((each) => each.message === message)?.id) ?? "";
  return placeIn(messages.map(last), fork.at[fork.here]);
}

/** @param {string[]} at @param {string} shown */
const placeIn = (at, shown) => ({ at, here: at.indexOf(shown) });
