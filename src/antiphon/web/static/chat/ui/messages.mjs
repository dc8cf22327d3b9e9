/** Views of messages and of the questions in them, loaded beside the page's first bundle: with Markdown they are as large as that. */
import { laterView } from "./later_view.mjs";

export const Person = laterView(() => import("./message.mjs").then((module) => module.Person));
export const Assistant = laterView(() => import("./message.mjs").then((module) => module.Assistant));
export const Approvals = laterView(() => import("./message.mjs").then((module) => module.Approvals), { silent: true });

/** Loads them if they are not there. Resolves also if they cannot be loaded, which they then say. */
export const loadMessageViews = () => Promise.all([Person.load(), Assistant.load()]);
