/** Icons of 24 by 24, drawn in the text's colour. */
import { html } from "../vendor/ui.mjs";

const LINES = {
  admin: "M12 3l7 3v5c0 4.6-2.9 8.3-7 10-4.1-1.7-7-5.4-7-10V6z M9 12l2 2 4-4",
  archive: "M4 5h16v4H4z M5.5 9v10h13V9 M10 13h4",
  assistant: "M12 4.5V7 M7 7h10a3 3 0 0 1 3 3v6a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3v-6a3 3 0 0 1 3-3z M9 12.5v1 M15 12.5v1",
  attach: "M20 11.5l-8.3 8.3a5 5 0 0 1-7.1-7.1l8.6-8.6a3.4 3.4 0 0 1 4.8 4.8l-8.6 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8",
  back: "M19 12H5 M11 6l-6 6 6 6",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12 M18 6L6 18",
  compare: "M4 5h6.5v14H4z M13.5 5H20v14h-6.5z",
  compose: "M11 5H6a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-5 M17.6 4.1a1.6 1.6 0 0 1 2.3 2.3l-7.4 7.4-3.2.9.9-3.2z",
  copy: "M9 9h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1z M5 15V5a1 1 0 0 1 1-1h9",
  down: "M6 9.5l6 6 6-6",
  edit: "M4 20l1-4.5L16.5 4a2.1 2.1 0 0 1 3 3L8.5 19z M14.5 6l3.5 3.5",
  export: "M12 4v11 M7.5 11l4.5 4.5 4.5-4.5 M5 20h14",
  folder: "M4 6.5a1 1 0 0 1 1-1h4.5l2 2.5H19a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z",
  key: "M14.5 9.5a4.5 4.5 0 1 0-3.2 4.3l1.7 1.7H15v2h2v2h3v-3l-5.7-5.7c.1-.4.2-.9.2-1.3z M8.5 8.5v.01",
  left: "M14.5 6l-6 6 6 6",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1 M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1",
  menu: "M4 7h16 M4 12h16 M4 17h10",
  microphone: "M12 4a2.5 2.5 0 0 1 2.5 2.5v5a2.5 2.5 0 0 1-5 0v-5A2.5 2.5 0 0 1 12 4z M6 11.5a6 6 0 0 0 12 0 M12 17.5V21 M9 21h6",
  model: "M12 3l7.8 4.5v9L12 21l-7.8-4.5v-9z M4.2 7.5L12 12l7.8-4.5 M12 12v9",
  more: "M5 11.4a.6.6 0 1 0 0 1.2.6.6 0 0 0 0-1.2z M12 11.4a.6.6 0 1 0 0 1.2.6.6 0 0 0 0-1.2z M19 11.4a.6.6 0 1 0 0 1.2.6.6 0 0 0 0-1.2z",
  new: "M12 5v14 M5 12h14",
  options: "M4 7h9 M17 7h3 M15 5v4 M4 17h3 M11 17h9 M9 15v4 M4 12h4 M12 12h8 M10 10v4",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z M3 20c0-3.3 2.7-6 6-6s6 2.7 6 6 M16 4.5a3.5 3.5 0 0 1 0 6 M17.5 14.5c2.1.9 3.5 3 3.5 5.5",
  pin: "M9 4h6l-1 6 3.5 3.5h-11L10 10z M12 13.5V20",
  retry: "M20 12a8 8 0 1 1-2.3-5.6 M20 4v5h-5",
  right: "M9.5 6l6 6-6 6",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z M16.5 16.5L20 20",
  send: "M12 20V5 M6 11l6-6 6 6",
  server: "M5 5h14a1 1 0 0 1 1 1v4a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z M5 13h14a1 1 0 0 1 1 1v4a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-4a1 1 0 0 1 1-1z M8 8v.01 M8 16v.01",
  settings: "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z M12 3v3 M12 18v3 M3 12h3 M18 12h3 M5.6 5.6l2.2 2.2 M16.2 16.2l2.2 2.2 M5.6 18.4l2.2-2.2 M16.2 7.8l2.2-2.2 M12 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z",
  sidebar: "M5 5h14a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z M9.5 5v14",
  share: "M12 15V4 M8 8l4-4 4 4 M6 12H5v8h14v-8h-1",
  signout: "M10 5H6a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h4 M14 8l4 4-4 4 M18 12H9.5",
  speaker: "M5 9.5h3l4-3.5v12l-4-3.5H5z M15.5 9a4 4 0 0 1 0 6 M18 6.5a7.5 7.5 0 0 1 0 11",
  stop: "M7 7h10v10H7z",
  system: "M5 5h14a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-7l-4 4v-4H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z M8 9h8 M8 12h5",
  tag: "M4 5v6.5L12.5 20l7-7L11 4.5H4.5z M8 8.5v.01",
  thumb_down: "M17 13.5V5h2.5v8.5z M17 13.5l-4 6.5a2 2 0 0 1-2-2v-4H6.3a2 2 0 0 1-2-2.4l1.2-5.1A2 2 0 0 1 7.5 5H17",
  thumb_up: "M7 10.5V19H4.5v-8.5z M7 10.5l4-6.5a2 2 0 0 1 2 2v4h4.7a2 2 0 0 1 2 2.4l-1.2 5.1a2 2 0 0 1-2 1.5H7",
  timer: "M12 21a8 8 0 1 0 0-16 8 8 0 0 0 0 16z M12 9v4l2.5 2 M9.5 2.5h5",
  timeline: "M4 6h7 M8 12h8 M13 18h7",
  tool: "M14.5 6.5a4 4 0 0 1 5-1l-2.7 2.7.3 1.7 1.7.3L21 8a4.3 4.3 0 0 1-6 5l-6.8 6.8a2 2 0 0 1-2.9-2.9L12 10a4.3 4.3 0 0 1 2.5-3.5z",
  trash: "M5 7h14 M10 7V4.5h4V7 M7 7l.8 12.5h8.4L17 7 M10.5 11v5 M13.5 11v5",
  usage: "M5 20V11 M12 20V4 M19 20v-6",
  warn: "M12 4l9 16H3z M12 10v4.5 M12 17.5v.01",
};

/**
 * One drawing, hidden from screen readers: what it stands for is said by the words beside it or by
 * the label of its button.
 *
 * @param {{name: keyof typeof LINES, size?: number}} props
 */
export function Icon({ name, size = 20 }) {
  return html`<svg
    class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"
  >
    <path d=${LINES[name]} />
  </svg>`;
}
