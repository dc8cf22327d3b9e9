"""The page about the architecture shows the floors that the import contracts set."""

import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text("utf-8")


def list_floors() -> list[set[str]]:
    """Return the names of the package's folders and modules by floor of the contract, top first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (contract,) = (each for each in contracts["contracts"] if each["id"] == "floors")
    return [set(layer.split(" | ")) for layer in contract["layers"] if layer != "__main__"]


def test_the_table_lists_every_floor_from_the_top():
    rows = re.findall(r"^\| \[`(\w+)`\]\((\S+)\) \|", PAGE, re.MULTILINE)

    rest = [name for name, _ in rows]
    for floor in list_floors():
        assert set(rest[: len(floor)]) == floor
        rest = rest[len(floor) :]
    assert not rest
    for name, link in rows:
        assert (ROOT / "docs/explanation" / link).exists(), name


def test_the_picture_draws_every_folder_and_no_arrow_upwards():
    (picture,) = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    groups = {
        name: set(re.findall(r"^\s+(\w+)$", body, re.MULTILINE)) - {"end"}
        for name, body in re.findall(r"subgraph (\w+)\[[^\]]*\]\n(.*?)\n\s+end", picture, re.DOTALL)
    }
    arrows = re.findall(r"(\w+) --> (\w+)", picture)
    heights = {name: -floor for floor, names in enumerate(list_floors()) for name in names}

    boxes = {box for pair in arrows for box in pair} - set(groups) | set().union(*groups.values())
    assert boxes == set(heights)
    for above, below in arrows:
        lowest = min(heights[name] for name in groups.get(above, {above}))
        highest = max(heights[name] for name in groups.get(below, {below}))
        assert lowest > highest, f"{above} --> {below}"


def test_every_folder_with_more_than_eight_modules_has_floors_of_its_own():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layered_folders = {
        name
        for each in contracts["contracts"]
        if each["type"] == "layers" and each["exhaustive"]
        for name in each["containers"]
    }
    modules = Counter(
        ".".join(path.parent.relative_to(ROOT / "src").parts)
        for path in (ROOT / "src/antiphon").rglob("*.py")
        if path.name != "__init__.py"
    )

    assert {name for name, count in modules.items() if count > 8} <= layered_folders
