/**
 * Search in the list of models.
 *
 * @module
 */

/** @typedef {import("./assistants.mjs").Model} Model */

/** Returns the name of a model without its provider. @param {{id: string, provider: string}} model */
export const nameOf = ({ id, provider }) => (id.startsWith(`${provider}:`) ? id.slice(provider.length + 1) : id);

/**
 * Returns the models whose name or provider holds every word of the query, those of one provider
 * together: providers stand in the order in which the list begins them.
 *
 * @param {readonly Model[]} models @param {string} query
 * @returns {Model[]}
 */
export function findModels(models, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const holds = (/** @type {Model} */ { id, provider }) => {
    const text = `${id} ${provider}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const providers = [...new Set(models.map(({ provider }) => provider))];
  const rank = new Map(providers.map((provider, place) => [provider, place]));
  return models.filter(holds).sort((one, other) => (rank.get(one.provider) ?? 0) - (rank.get(other.provider) ?? 0));
}
