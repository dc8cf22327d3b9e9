import assert from "node:assert/strict";
import { test } from "node:test";

import { versionsBeside } from "../../../src/antiphon/web/static/chat/forks.mjs";

/** A question of two models; the first one answered again; the question was edited for both. */
const COMPARED = {
  number: 1,
  at: ["left", "right", "leftAgain", "leftEdited", "rightEdited"],
  repeated: false,
  messages: ["left", "left", "left", "leftEdited", "rightEdited"],
  columns: ["", "right", "", "", "right"],
};
const at = (/** @type {string} */ thread) => ({ ...COMPARED, here: COMPARED.at.indexOf(thread) });

test("the switch of an answer leads to answers of the same model to the same question", () => {
  assert.deepEqual(versionsBeside(at("left"), at("right"), false, "right"), { at: ["left", "leftAgain"], here: 0 });
  assert.deepEqual(versionsBeside(at("right"), at("left"), false, "left"), { at: ["right"], here: 0 });
  assert.deepEqual(versionsBeside(at("leftEdited"), at("rightEdited"), false, "rightEdited"), { at: ["leftEdited"], here: 0 });
});

test("the switch of a question leads to its versions, each with the last answer of the same model", () => {
  assert.deepEqual(versionsBeside(at("leftEdited"), at("rightEdited"), true, "rightEdited"), { at: ["leftAgain", "leftEdited"], here: 1 });
  assert.deepEqual(versionsBeside(at("rightEdited"), at("leftEdited"), true, "leftEdited"), { at: ["right", "rightEdited"], here: 1 });
  assert.deepEqual(versionsBeside(at("left"), at("right"), true, "right"), { at: ["left", "leftEdited"], here: 0 });
});

test("versions of one model are shown beside each other without the one that is shown there", () => {
  const fork = { number: 1, at: ["one", "two", "three"], repeated: true, messages: ["one", "one", "one"], columns: ["", "", ""] };

  assert.deepEqual(versionsBeside({ ...fork, here: 0 }, { ...fork, here: 1 }, false, "two"), { at: ["one", "three"], here: 0 });
});
