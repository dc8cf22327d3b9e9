/**
 * A library that is fetched when it is first wanted; most conversations never want it.
 *
 * @template Library
 * @param {() => Promise<{default: Library}>} load
 * @returns {(work: (library: Library) => void) => void} does the work now if the library is there,
 *   else once it is; never if it cannot be had, and what it would have changed stays as it is
 */
export function lazily(load) {
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
