"""Renders a Helm chart as `helm template` does, and validates the manifests.

    python render_chart.py CHART RELEASE < values.json

Standard input is a JSON list of values; standard output is a JSON list of the results, each with
`manifests` and `notes`, or with `error`. It needs requirements/chart.txt: Go's templates in Python,
and the schemas of Kubernetes.
"""

import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from gotpl.exts.helm import HelmTemplateEngine

KUBERNETES = "1.37"


def main() -> None:
    chart, release = Path(sys.argv[1]), sys.argv[2]
    answers = []
    for changes in json.load(sys.stdin):
        try:
            answers.append(render(chart, release, changes))
        except Exception as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})
    json.dump(answers, sys.stdout)


def render(chart: Path, release: str, changes: dict) -> dict:
    """Return the manifests and the notes of the chart with these values beside its own."""
    values = merge(read(chart / "values.yaml"), changes)
    jsonschema.validate(values, json.loads((chart / "values.schema.json").read_text("utf-8")))
    chart_info = read(chart / "Chart.yaml")
    context = {
        "Values": values,
        "Chart": {
            "Name": chart_info["name"],
            "Version": chart_info["version"],
            "AppVersion": chart_info["appVersion"],
        },
        "Release": {"Name": release, "Namespace": "default", "Service": "Helm"},
    }
    templates = sorted((chart / "templates").iterdir())
    sources = {path.name: path.read_text("utf-8") for path in templates}
    template_names = [name for name in sources if not name.startswith("_")]
    rendered = HelmTemplateEngine.from_sources(sources).render(
        dict.fromkeys(template_names, context)
    )
    manifests = [
        manifest
        for name in template_names
        if name.endswith(".yaml")
        for manifest in yaml.safe_load_all(rendered[name])
        if manifest
    ]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    return {"manifests": manifests, "notes": rendered["NOTES.txt"]}


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))


def merge(values: dict, changes: dict) -> dict:
    """Return the values with these changes, as Helm merges them."""
    merged = dict(values)
    for name, change in changes.items():
        mergeable = isinstance(change, dict) and isinstance(values.get(name), dict)
        merged[name] = merge(values[name], change) if mergeable else change
    return merged


if __name__ == "__main__":
    main()
