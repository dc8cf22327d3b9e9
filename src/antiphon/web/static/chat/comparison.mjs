/**
 * Comparison of two conversations that divide at one question, each with a model of its own.
 *
 * @module
 */

import { chosenAssistant, models } from "./assistants.mjs";
import { nameOf } from "./models.mjs";
import { BESIDE, MAIN, me } from "./store.mjs";

/** @typedef {import("./store.mjs").Pane} Pane */

/**
 * Returns the number of the first message in which the open threads differ; null if they are not
 * versions of each other, undefined until they are loaded.
 */
export function findDivision() {
  const [one, other] = [MAIN.current.value?.thread, BESIDE.current.value?.thread];
  if (BESIDE.lost.value) return null;
  if (!one || !other) return undefined;
  if (other.replaces === one.id) return other.branch_begins ?? null;
  if (one.replaces === other.id) return one.branch_begins ?? null;
  if (one.id === other.id) return null;
  return MAIN.current.value?.branches.find(({ at }) => at.includes(other.id))?.number ?? null;
}

/** Returns the name of the model that answers in a pane. @param {Pane} at */
export function modelAt({ current }) {
  const id = current.value?.model ?? chosenAssistant.value?.model ?? me.value?.model ?? "";
  return shortName(id);
}

/** Returns the name of a model without its provider, if the model is known. @param {string} id */
export function shortName(id) {
  const known = models.value?.find((model) => model.id === id);
  return known ? nameOf(known) : id;
}
