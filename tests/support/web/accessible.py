"""Accessibility faults of a view, found by axe-core."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.support.programs import Installed

PINNED = Path(__file__).parent / "axe"
FINDINGS = """async (rules) => {
  const options = { resultTypes: ["violations"], ...(rules ? { runOnly: rules } : {}) };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}"""
WATCH_FIELD = """selector => {
  window.fieldWhenShown = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      const field = document.querySelector(selector);
      if (!field) return;
      observer.disconnect();
      resolve([document.activeElement === field, field.selectionStart, field.selectionEnd]);
    }).observe(document.body, {childList: true, subtree: true});
  });
}"""
"""Reads whether the field has the focus, and what of it is selected, before the next key comes."""
WIDER = """() => [
  ...document.querySelectorAll("body, main, .page, .conversation, .dialog, .dialog-body"),
]
  .filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => `${box.className || box.tagName} is ${box.scrollWidth} wide`)"""


@pytest.fixture(scope="session")
def axe(npm_packages: Installed) -> str:
    """The checker, as a script."""
    return (npm_packages(PINNED) / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def findings(page: Page, axe: str, *rules: str) -> list[str]:
    """Return the faults of the current view, by these rules or by all."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(axe)
    return await page.evaluate(FINDINGS, list(rules) or None)


async def wider(page: Page) -> list[str]:
    """Return the elements whose content is wider than they are."""
    return await page.evaluate(WIDER)


async def set_theme(page: Page, theme: str) -> None:
    """Show the page in this theme, and wait until its colours have stopped changing."""
    await page.emulate_media(reduced_motion="reduce")
    await page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    await page.evaluate(
        "() => Promise.all(document.getAnimations().map(each => each.finished.catch(() => 0)))"
    )


async def set_size(page: Page, size: tuple[int, int]) -> None:
    """Give the window this width and height, and wait until the page has followed."""
    width, height = size
    await page.set_viewport_size({"width": width, "height": height})
    # Changes of media queries are reported before the frame's callbacks (HTML, "update the
    # rendering"), so the sidebar is open or closed then.
    await page.evaluate("() => new Promise(requestAnimationFrame)")
