/** Characters of a text, which may be two units of it each. */

/** Returns an index at or just before `most` that splits no character. @param {string} text @param {number} most */
export function wholeCharacters(text, most) {
  const code = text.charCodeAt(most - 1);
  return code >= 0xd800 && code <= 0xdbff ? most - 1 : most;
}
