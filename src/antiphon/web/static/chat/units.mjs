/** Sizes and durations in the user's language. */

const SIZES = /** @type {const} */ (["byte", "kilobyte", "megabyte", "gigabyte"]);

/** Formats bytes: 2_000_000 is "2 MB". @param {number} bytes @param {string} language */
export function formatBytes(bytes, language) {
  let size = bytes;
  let place = 0;
  while (size >= 1000 && place < SIZES.length - 1) {
    size /= 1000;
    place += 1;
  }
  return inUnits(size, SIZES[place], language, size < 10 && place > 0 ? 1 : 0);
}

/** Formats seconds: 125 is "2 min 5 s"; with `tenths`, those below ten seconds have a decimal. @param {number} seconds @param {string} language @param {boolean} [tenths] */
export function formatSeconds(seconds, language, tenths = false) {
  if (seconds < 60) return inUnits(tenths ? seconds : Math.floor(seconds), "second", language, tenths && seconds < 9.95 ? 1 : 0);
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  const said = minutes < 60 ? [[minutes, "minute"], [rest, "second"]] : [[Math.floor(minutes / 60), "hour"], [minutes % 60, "minute"]];
  return said.map(([number, unit]) => inUnits(Number(number), String(unit), language, 0)).join(" ");
}

/** @param {number} number @param {string} unit @param {string} language @param {number} digits */
const inUnits = (number, unit, language, digits) => {
  const unitDisplay = unit === "byte" ? "long" : "short"; // shortened, eleven of them are "11 byte"
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay, maximumFractionDigits: digits }).format(number);
};
