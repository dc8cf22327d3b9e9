/**
 * Names of the models that answer, of which a comparison has two.
 *
 * @module
 */

import { chosenAssistant, models } from "./assistants.mjs";
import { nameOf } from "./models.mjs";
import { me } from "./store.mjs";

/** @typedef {import("./store.mjs").Pane} Pane */

/** Returns the name of the model that answers in a pane. @param {Pane} at */
export const modelAt = ({ current }) => modelIn({ model: current.value?.model });

/** Returns the name of the model that these options of a message ask. @param {{model?: string | null}} options */
export const modelIn = ({ model }) => shortName(model ?? chosenAssistant.value?.model ?? me.value?.model ?? "");

/** Returns the name of a model without its provider, if the model is known. @param {string} id */
export function shortName(id) {
  const known = models.value?.find((model) => model.id === id);
  return known ? nameOf(known) : id;
}
