/** The pane to which a message belongs, and whether it can be changed there. */
import { MAIN } from "../store.mjs";
import { createContext } from "../vendor/ui.mjs";

/** `acts` is false where a version of a message would leave the comparison. */
export const Here = createContext({ at: MAIN, acts: true });
