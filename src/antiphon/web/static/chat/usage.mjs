/** Sums of usage. */

/** @typedef {{inputTokens: number, outputTokens: number, cachedTokens: number, reasoningTokens: number}} Tokens */
/** @typedef {{usage?: Tokens, cost?: number | null}} Account */

/** @type {Tokens} */
const NOTHING = { inputTokens: 0, outputTokens: 0, cachedTokens: 0, reasoningTokens: 0 };

/**
 * Returns the total usage. Its cost is null unless every part has one.
 *
 * @param {readonly (Account | undefined)[]} accounts
 * @returns {{usage: Tokens, cost: number | null}}
 */
export function total(accounts) {
  const spent = accounts.flatMap((account) => (account?.usage ? [account] : []));
  const usage = spent.reduce((sum, { usage: used }) => addTokens(sum, /** @type {Tokens} */ (used)), NOTHING);
  const known = spent.length > 0 && spent.every(({ cost }) => typeof cost === "number");
  return { usage, cost: known ? spent.reduce((sum, { cost }) => sum + /** @type {number} */ (cost), 0) : null };
}

function addTokens(/** @type {Tokens} */ one, /** @type {Tokens} */ other) {
  return {
    inputTokens: one.inputTokens + (other.inputTokens ?? 0),
    outputTokens: one.outputTokens + (other.outputTokens ?? 0),
    cachedTokens: one.cachedTokens + (other.cachedTokens ?? 0),
    reasoningTokens: one.reasoningTokens + (other.reasoningTokens ?? 0),
  };
}
