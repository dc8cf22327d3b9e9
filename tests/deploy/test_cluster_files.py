"""The files of `deploy/` mean what they say, as far as it can be told without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.settings.loading import load
from antiphon.settings.settings import TABLE
from antiphon.telemetry.metrics import MEASURES
from antiphon.web.policy import read_policy

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
FOREIGN = re.compile(r"(OTEL|POSTGRES|GF|OPENAI|XDG)_[A-Z_]+")
PINNED = re.compile(r"docker\.io/[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)*")
KINDS = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Ingress": "networking.k8s.io/v1",
    "Job": "batch/v1",
    "Kustomization": "kustomize.config.k8s.io/v1beta1",
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "PodDisruptionBudget": "policy/v1",
    "Secret": "v1",
    "Service": "v1",
}


def _variables(environment: dict[str, Any]) -> Iterator[str]:
    known = {setting.variable for setting in TABLE.values()}
    yield from (name for name in environment if name not in known and not FOREIGN.fullmatch(name))


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def _pods() -> list[tuple[str, dict[str, Any]]]:
    return [
        (manifest["metadata"]["name"], manifest["spec"]["template"])
        for manifest in (*_of_kind("Deployment"), *_of_kind("Job"))
    ]


def test_every_variable_of_the_cluster_is_a_setting() -> None:
    given = [service.get("environment", {}) for service in SERVICES.values()]
    given += [each["data"] for each in _of_kind("ConfigMap")]
    given += [each["stringData"] for each in _of_kind("Secret")]
    example = (DEPLOY / ".env.example").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))

    assert [name for each in given for name in _variables(each)] == []
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == asked


def test_values_in_the_files_are_taken_by_the_settings(tmp_path: Path) -> None:
    given = [each["data"] for each in _of_kind("ConfigMap")]
    given += [service.get("environment", {}) for service in SERVICES.values()]
    for each in given:
        filled = {name: _fill_in(value) for name, value in each.items()}
        load({}, {**filled, "HOME": str(tmp_path)}, tmp_path)


def _fill_in(value: str) -> str:
    """As compose fills it in, with nothing in `.env` but what must be there."""
    return re.sub(
        r"\$\{[A-Z_]+:([-?])([^}]*)\}", lambda ask: ask[2] if ask[1] == "-" else "x", value
    )


def test_the_web_chat_of_the_cluster_lets_in_who_it_shall(tmp_path: Path) -> None:
    compose = {name: _fill_in(value) for name, value in SERVICES["web"]["environment"].items()}
    manifests = {
        name: text for each in _of_kind("ConfigMap") for name, text in each["data"].items()
    }
    for environ in ({**compose, "ANTIPHON_HOST": "0.0.0.0"}, manifests):
        allowed = read_policy(load({}, {**environ, "HOME": str(tmp_path)}, tmp_path))
        assert allowed.login == "password"
        assert allowed.origin in ("http://localhost:8080", "https://chat.example.org")


def test_images_are_pinned_and_what_is_ours_is_built_here() -> None:
    images = {_fill_in(service["image"]) for service in SERVICES.values()}
    foreign = [image for image in images if image != "antiphon:local"]
    made = (DEPLOY / "Containerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", made, re.MULTILINE)
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", made, re.MULTILINE)

    assert bases == ["${PYTHON_IMAGE}"] * 2
    assert _fill_in(SERVICES["antiphon-1"]["build"]["args"]["PYTHON_IMAGE"]) == base
    assert [image for image in (*foreign, base) if not PINNED.fullmatch(image)] == []
    assert SERVICES["antiphon-1"]["build"]["dockerfile"] == "deploy/Containerfile"


def test_every_foreign_image_can_be_pinned_by_its_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    script = ["/bin/sh", str(DEPLOY / "pin-images.sh")]
    environ = {"PATH": os.environ["PATH"], "INSPECT": f"sh -c 'echo {digest}'"}
    told = subprocess.run(script, env=environ, check=True, capture_output=True, timeout=60)
    lines = dict(line.split("=") for line in told.stdout.decode().splitlines())
    asked = re.findall(r"\$\{([A-Z]+_IMAGE)", (DEPLOY / "compose.yaml").read_text())
    lost = subprocess.run(
        script, env=environ | {"INSPECT": "true"}, capture_output=True, timeout=60, check=False
    )

    assert lines.keys() == set(asked)
    assert lines["POSTGRES_IMAGE"] == f"docker.io/library/postgres@{digest}"
    assert all(image.endswith(f"@{digest}") for image in lines.values())
    assert lost.returncode != 0


def test_nobody_but_nginx_says_from_where_people_come(tmp_path: Path) -> None:
    environ = {name: _fill_in(value) for name, value in SERVICES["web"]["environment"].items()}
    web = read_policy(load({}, {**environ, "HOME": str(tmp_path)}, tmp_path))
    nginx = _fill_in(SERVICES["nginx"]["networks"]["default"]["ipv4_address"])
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]

    assert web.trusts(nginx)
    assert ip_address(nginx) in ip_network(_fill_in(network["subnet"]))
    others = list(ip_network(_fill_in(network["subnet"])).hosts())
    assert [str(each) for each in others if web.trusts(str(each))] == [nginx]


def test_services_of_the_cluster_may_do_little() -> None:
    for name, service in SERVICES.items():
        if name == "postgres":
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not str(service.get("user", "10001")).startswith("0"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_servers_are_asked_whether_they_are_ready_and_have_time_to_end() -> None:
    for name in ("antiphon-1", "antiphon-2", "antiphon-3"):
        service = SERVICES[name]
        times = service["environment"]
        least = int(times["ANTIPHON_DRAIN_DELAY"]) + int(times["ANTIPHON_SHUTDOWN_TIMEOUT"]) + 10
        assert "/readyz" in service["healthcheck"]["test"][-1]
        assert int(service["stop_grace_period"].removesuffix("s")) >= least


def test_whatever_a_service_needs_is_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            there = (DEPLOY / source).exists() if source[0] == "." else source in COMPOSE["volumes"]
            assert there, volume


def test_manifests_are_of_kinds_that_there_are() -> None:
    assert [each["kind"] for each in MANIFESTS if KINDS[each["kind"]] != each["apiVersion"]] == []


def test_pods_run_as_nobody_and_change_nothing_of_their_own() -> None:
    for name, pod in _pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            may = container["securityContext"]
            assert may["readOnlyRootFilesystem"] is True, name
            assert may["allowPrivilegeEscalation"] is False, name
            assert may["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_pods_are_probed_where_there_is_an_answer_and_have_time_to_end() -> None:
    server = next(pod["spec"] for name, pod in _pods() if name == "antiphon")
    probes = server["containers"][0]
    times = next(
        each["data"]
        for each in _of_kind("ConfigMap")
        if "ANTIPHON_SHUTDOWN_TIMEOUT" in each["data"]
    )
    least = int(times["ANTIPHON_DRAIN_DELAY"]) + int(times["ANTIPHON_SHUTDOWN_TIMEOUT"]) + 10

    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["terminationGracePeriodSeconds"] >= least


def test_what_manifests_name_is_named_so_elsewhere() -> None:
    labels = [pod["metadata"]["labels"] for _, pod in _pods()]
    for service in _of_kind("Service"):
        wanted = service["spec"]["selector"].items()
        assert any(wanted <= each.items() for each in labels), service["metadata"]
    for rule in _of_kind("NetworkPolicy"):
        wanted = rule["spec"]["podSelector"].get("matchLabels", {}).items()
        assert any(wanted <= each.items() for each in labels), rule["metadata"]
    kept = {each["metadata"]["name"] for each in (*_of_kind("ConfigMap"), *_of_kind("Secret"))}
    for _, pod in _pods():
        for source in pod["spec"]["containers"][0]["envFrom"]:
            assert next(iter(source.values()))["name"] in kept
    services = {each["metadata"]["name"] for each in _of_kind("Service")}
    for path in _of_kind("Ingress")[0]["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"]["service"]["name"] in services
    listed = _of_kind("Kustomization")[0]["resources"]
    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert files == {*listed, "kustomization.yaml", "secret.example.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kubectl_puts_the_manifests_together() -> None:
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes")]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert {each["metadata"].get("namespace") for each in yaml.safe_load_all(made.stdout)} <= {
        "antiphon",
        None,
    }


def test_whatever_the_dashboard_and_the_alerts_look_at_is_counted() -> None:
    dashboard = json.loads((DEPLOY / "grafana/antiphon.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    told = set(_list_settings())
    named = {
        name
        for query in asked
        for name in re.findall(r"(?:antiphon|process)_[a-z_]+", query.replace('job="antiphon"', ""))
    }

    assert named - told == set()
    assert {each.name for each in MEASURES} <= {_base(name) for name in named | {"antiphon_info"}}


def _list_settings() -> Iterator[str]:
    for measure in MEASURES:
        if measure.kind == "histogram":
            yield from (f"{measure.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield measure.name


def _base(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_panels_of_the_dashboard_do_not_lie_on_one_another() -> None:
    dashboard = json.loads((DEPLOY / "grafana/antiphon.json").read_text())
    cells = [
        (place["x"] + across, place["y"] + down)
        for panel in dashboard["panels"]
        if (place := panel["gridPos"])
        for across in range(place["w"])
        for down in range(place["h"])
    ]

    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)


def test_prometheus_asks_every_server() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]

    assert [target.removesuffix(":8000") for target in targets] == [
        name for name in SERVICES if re.fullmatch(r"antiphon-\d", name)
    ]


@pytest.mark.soak
def test_the_first_keys_are_made_once_and_open_what_they_are_for(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KEYS": str(keys),
        "ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/antiphon.db",
    }
    script = ["/bin/sh", str(DEPLOY / "first-keys.sh")]
    subprocess.run(script, env=environ, check=True, timeout=120)
    made = {file.name: file.read_text() for file in keys.iterdir()}
    subprocess.run(script, env=environ, check=True, timeout=120)
    listing = ["antiphon", "keys", "list", "--json"]
    listed = subprocess.run(listing, env=environ, check=True, capture_output=True, timeout=60)
    known = {key["name"]: key["scopes"] for key in json.loads(listed.stdout)}

    assert {file.name: file.read_text() for file in keys.iterdir()} == made
    assert known == {"web": ["admin"], "prometheus": ["metrics"]}
    assert all(secret.startswith("ak_") for secret in made.values())
    assert (keys / "web").stat().st_mode & 0o077 == 0
