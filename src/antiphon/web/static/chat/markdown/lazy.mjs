/**
 * Returns a function that runs work with a library, which is loaded on first use.
 *
 * @template Library
 * @param {() => Promise<{default: Library}>} load
 * @returns {(work: (library: Library) => void) => void} runs the work at once if the library is loaded,
 *   else after loading; never if loading fails
 */
export function loadLazily(load) {
  /** @type {Library | undefined} */
  let library;
  /** @type {Promise<Library> | undefined} */
  let coming;
  return (work) => {
    if (library) return work(library);
    coming ??= load().then((module) => (library = module.default));
    coming.then(work, () => (coming = undefined));
  };
}
