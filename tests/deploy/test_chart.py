"""The Helm chart renders the manifests of `deploy/kubernetes` and refuses bad values."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.settings.loading import load
from antiphon.settings.settings import TABLE

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/antiphon"
RENDER = ROOT / "tests/support/packaging/render_chart.py"
IMAGE = {"image": {"repository": "registry.example.org/antiphon"}}
USUAL_VALUES = {
    **IMAGE,
    "ingress": {"host": "chat.example.org", "tlsSecret": "chat-example-org-tls"},
}
SHARED_FIELDS = ("args", "livenessProbe", "ports", "readinessProbe", "resources", "securityContext")
SHARED_FIELDS += ("startupProbe", "volumeMounts")
"""Fields that containers of the chart and of deploy/kubernetes have in common."""

OFF: dict[str, Any] = {"enabled": False}
DIGEST = f"sha256:{'0' * 64}"
CASES: dict[str, dict[str, Any]] = {
    "usual": USUAL_VALUES,
    "least": {
        **IMAGE,
        **dict.fromkeys(("web", "ingress", "migrate", "networkPolicy"), OFF),
        "server": {"autoscaling": OFF, "replicas": 2},
    },
    "pinned": {**USUAL_VALUES, "image": {**IMAGE["image"], "digest": DIGEST}},
}
REFUSED_VALUES: dict[str, dict[str, Any]] = {
    "image.repository must be set": {"ingress": {"host": "x"}},
    "ingress.host must be set": IMAGE,
    "'replicas' was unexpected": {**USUAL_VALUES, "replicas": 3},
    "'DATABASE' does not match": {**USUAL_VALUES, "settings": {"DATABASE": "x"}},
    "'ANTIPHON_MODEL' should not be valid": {**USUAL_VALUES, "settings": {"ANTIPHON_MODEL": "x"}},
}
"""Values by the message of their refusal."""

Manifests = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def chart_outputs(python_with: Callable[[Path], Path]) -> dict[str, dict[str, Any]]:
    """The chart's output for each of the values; Kubernetes' own schemas accept it."""
    python = python_with(ROOT / "requirements/chart.txt")
    cases = CASES | REFUSED_VALUES
    completed = subprocess.run(
        [python, RENDER, CHART, "prod"],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(cases, json.loads(completed.stdout), strict=True))


@pytest.fixture
def manifests(chart_outputs: dict[str, dict[str, Any]]) -> Manifests:
    """The manifests of usual values, by kind and name."""
    return _index_by_name(chart_outputs["usual"]["manifests"])


def _index_by_name(manifests: list[dict[str, Any]]) -> Manifests:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


def test_pods_are_those_of_the_manifests(manifests: Manifests) -> None:
    files = (ROOT / "deploy/kubernetes").glob("*.yaml")
    expected = _index_by_name(
        [
            each
            for file in files
            for each in yaml.safe_load_all(file.read_text())
            if each["kind"]
            in ("Deployment", "Job", "HorizontalPodAutoscaler", "PersistentVolumeClaim")
        ]
    )

    for (kind, name), manifest in expected.items():
        spec = manifests[kind, name.replace("antiphon", "prod-antiphon", 1)]["spec"]
        if kind not in ("Deployment", "Job"):
            shared_keys = set(spec) & set(manifest["spec"]) - {"scaleTargetRef"}
            assert {key: spec[key] for key in shared_keys} == {
                key: manifest["spec"][key] for key in shared_keys
            }
            continue
        pod, expected_pod = spec["template"]["spec"], manifest["spec"]["template"]["spec"]
        assert pod["securityContext"] == expected_pod["securityContext"]
        [container], [expected_container] = pod["containers"], expected_pod["containers"]
        assert {key: container.get(key) for key in SHARED_FIELDS} == {
            key: expected_container.get(key) for key in SHARED_FIELDS
        }


def test_variables_are_settings_with_good_values(manifests: Manifests, tmp_path: Path) -> None:
    environments = [each["data"] for (kind, _), each in manifests.items() if kind == "ConfigMap"]
    variables = {setting.variable for setting in TABLE.values()}

    assert len(environments) == 2
    for each in environments:
        assert each.keys() <= variables
        load({}, {**each, "HOME": str(tmp_path)}, tmp_path)


def test_each_selector_finds_its_pods(manifests: Manifests) -> None:
    pods = {
        name: each["spec"]["template"]["metadata"]["labels"]
        for (kind, name), each in manifests.items()
        if kind in ("Deployment", "Job")
    }
    services = {
        name: each["spec"]["selector"]
        for (kind, name), each in manifests.items()
        if kind == "Service"
    }

    for service, selector in services.items():
        pod_names = [name for name, labels in pods.items() if selector.items() <= labels.items()]
        assert pod_names == [service]


def test_parts_can_be_left_out(chart_outputs: dict[str, dict[str, Any]]) -> None:
    least_manifests = _index_by_name(chart_outputs["least"]["manifests"])

    kinds = sorted(kind for kind, _ in least_manifests)
    assert kinds == ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service"]
    assert least_manifests["Deployment", "prod-antiphon"]["spec"]["replicas"] == 2


def test_an_image_is_pinned_by_its_digest(chart_outputs: dict[str, dict[str, Any]]) -> None:
    pinned_manifests = chart_outputs["pinned"]["manifests"]

    pods = [each for each in pinned_manifests if each["kind"] in ("Deployment", "Job")]
    images = {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in pods}
    assert images == {f"registry.example.org/antiphon@{DIGEST}"}


@pytest.mark.parametrize("message", REFUSED_VALUES)
def test_values_that_mean_nothing_are_refused(
    chart_outputs: dict[str, dict[str, Any]], message: str
) -> None:
    assert message in chart_outputs[message]["error"]
