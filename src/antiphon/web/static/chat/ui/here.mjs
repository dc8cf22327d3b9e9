/** The pane to which a message belongs. */
import { MAIN } from "../store.mjs";
import { createContext } from "../vendor/ui.mjs";

export const Here = createContext({ at: MAIN });
