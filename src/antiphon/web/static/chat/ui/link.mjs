/** Links between the views of the page: real addresses, followed without a reload. */
import { navigate } from "../router.mjs";
import { html } from "../vendor/ui.mjs";

/**
 * @param {{href: string, onFollow?: () => void, children?: any} & Record<string, any>} props
 */
export function Link({ href, onFollow, children, ...rest }) {
  const follow = (/** @type {MouseEvent} */ event) => {
    if (wantsOtherPlace(event)) return;
    event.preventDefault();
    navigate(href);
    onFollow?.();
  };
  return html`<a href=${href} onClick=${follow} ...${rest}>${children}</a>`;
}

/** Returns true if the browser itself must follow: new tab, new window, or download. */
function wantsOtherPlace(/** @type {MouseEvent} */ event) {
  return event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
}
