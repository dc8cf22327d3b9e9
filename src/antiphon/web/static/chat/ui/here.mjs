/** The pane to which a message belongs. */
import { MAIN } from "../store.mjs";
import { createContext } from "../vendor/ui.mjs";

/**
 * @typedef {object} HereValue
 * @property {import("../store.mjs").Pane} at
 * @property {(pane: import("../store.mjs").Pane, number: number | undefined, question: boolean) => import("./branches.mjs").Versions} [findVersions]
 *   the versions between which switches go, where two columns are shown
 */
export const Here = createContext(/** @type {HereValue} */ ({ at: MAIN }));
