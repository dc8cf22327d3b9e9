/**
 * Tools of an assistant by the server that offers them, and which of them are chosen.
 *
 * @module
 */

/**
 * @typedef {{name: string, description: string, server: string | null}} Offered
 *
 * @typedef {object} Group
 * @property {string | null} server  null: the functions of the app
 * @property {boolean} known  false: neither the server nor the tools are there now
 * @property {Offered[]} tools
 *
 * @typedef {{names: ReadonlySet<string>, servers: ReadonlySet<string>}} Chosen
 *   tools by name, and servers of which all tools may be used, also later ones
 */

/**
 * Returns all that can be chosen, and what is chosen although it is not there now.
 *
 * @param {readonly Offered[]} offered @param {readonly string[]} servers @param {Chosen} chosen
 * @returns {Group[]} the functions of the app first, then servers by name, then what is not there
 */
export function groupTools(offered, servers, chosen) {
  const names = new Set(offered.map(({ name }) => name));
  const here = [...new Set([...servers, ...offered.flatMap(({ server }) => server ?? [])])].sort();
  const missing = [...chosen.names].filter((name) => !names.has(name)).sort();
  const gone = [...chosen.servers].filter((server) => !here.includes(server)).sort();
  const groups = [null, ...here].map((server) => ({ server, known: true, tools: offered.filter((tool) => tool.server === server) }));
  const away = gone.map((server) => ({ server, known: false, tools: [] }));
  const unknown = { server: null, known: false, tools: missing.map((name) => ({ name, description: "", server: null })) };
  return [...groups, ...away, unknown].filter(({ server, tools }) => server !== null || tools.length > 0);
}

/**
 * Returns the groups with the tools that hold every word of the query; all tools of a server whose
 * name holds them.
 *
 * @param {readonly Group[]} groups @param {string} query
 * @returns {Group[]}
 */
export function searchTools(groups, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...groups];
  const holds = (/** @type {string} */ text) => words.every((word) => text.toLowerCase().includes(word));
  return groups
    .map((group) => ({
      ...group,
      tools: group.tools.filter(({ name, description }) => holds(`${group.server ?? ""} ${name} ${description}`)),
    }))
    .filter(({ server, tools }) => tools.length > 0 || (server !== null && holds(server)));
}

/** Returns how many tools of a group are chosen. @param {Group} group @param {Chosen} chosen */
export const countChosen = ({ server, tools }, { names, servers }) =>
  server !== null && servers.has(server) ? tools.length : tools.filter(({ name }) => names.has(name)).length;

/**
 * Returns the choice with all or none of a group: of a server by its name, so that later tools belong
 * to it too; of the app's functions one by one.
 *
 * @param {Group} group @param {boolean} all @param {Chosen} chosen
 * @returns {Chosen}
 */
export function chooseGroup({ server, tools }, all, chosen) {
  const own = new Set(tools.map(({ name }) => name));
  const others = [...chosen.names].filter((name) => !own.has(name));
  if (server === null) return { ...chosen, names: new Set(all ? [...others, ...own] : others) };
  const servers = [...chosen.servers].filter((name) => name !== server);
  return { names: new Set(others), servers: new Set(all ? [...servers, server] : servers) };
}

/**
 * Returns the choice with or without one tool. A server that was chosen as a whole becomes its other
 * tools of now.
 *
 * @param {Group} group @param {string} name @param {boolean} wanted @param {Chosen} chosen
 * @returns {Chosen}
 */
export function chooseTool({ server, tools }, name, wanted, chosen) {
  const whole = server !== null && chosen.servers.has(server);
  const before = whole ? [...chosen.names, ...tools.map((tool) => tool.name)] : [...chosen.names];
  const names = new Set(before.filter((each) => each !== name));
  if (wanted) names.add(name);
  return { names, servers: new Set([...chosen.servers].filter((each) => !whole || each !== server)) };
}
