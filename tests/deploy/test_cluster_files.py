"""The files of `deploy/` are correct, as far as that can be tested without an engine."""

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


def _find_unknown_variables(environment: dict[str, Any]) -> Iterator[str]:
    known_variables = {setting.variable for setting in TABLE.values()}
    yield from (
        name for name in environment if name not in known_variables and not FOREIGN.fullmatch(name)
    )


def _list_manifests(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def _list_pods() -> list[tuple[str, dict[str, Any]]]:
    return [
        (manifest["metadata"]["name"], manifest["spec"]["template"])
        for manifest in (*_list_manifests("Deployment"), *_list_manifests("Job"))
    ]


def test_every_variable_of_the_cluster_is_a_setting() -> None:
    environments = [service.get("environment", {}) for service in SERVICES.values()]
    environments += [each["data"] for each in _list_manifests("ConfigMap")]
    environments += [each["stringData"] for each in _list_manifests("Secret")]
    example = (DEPLOY / ".env.example").read_text()
    variables = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))

    assert [name for each in environments for name in _find_unknown_variables(each)] == []
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == variables


def test_values_in_the_files_are_taken_by_the_settings(tmp_path: Path) -> None:
    environments = [each["data"] for each in _list_manifests("ConfigMap")]
    environments += [service.get("environment", {}) for service in SERVICES.values()]
    for each in environments:
        variables = {name: _fill_in(value) for name, value in each.items()}
        load({}, {**variables, "HOME": str(tmp_path)}, tmp_path)


def _fill_in(value: str) -> str:
    """Return the value as compose fills it in, with only the required variables in `.env`."""
    return re.sub(
        r"\$\{[A-Z_]+:([-?])([^}]*)\}", lambda match: match[2] if match[1] == "-" else "x", value
    )


def test_the_web_chat_of_the_cluster_wants_a_password_and_knows_its_origin(tmp_path: Path) -> None:
    compose = {name: _fill_in(value) for name, value in SERVICES["web"]["environment"].items()}
    manifests = {
        name: text for each in _list_manifests("ConfigMap") for name, text in each["data"].items()
    }
    for environ in ({**compose, "ANTIPHON_HOST": "0.0.0.0"}, manifests):
        policy = read_policy(load({}, {**environ, "HOME": str(tmp_path)}, tmp_path))
        assert policy.login == "password"
        assert policy.origin in ("http://localhost:8080", "https://chat.example.org")


def test_foreign_images_are_pinned_and_antiphons_own_is_built_here() -> None:
    images = {_fill_in(service["image"]) for service in SERVICES.values()}
    foreign = [image for image in images if image != "antiphon:local"]
    containerfile = (DEPLOY / "Containerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", containerfile, re.MULTILINE)
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", containerfile, re.MULTILINE)

    assert bases == ["${PYTHON_IMAGE}"] * 2
    assert _fill_in(SERVICES["antiphon-1"]["build"]["args"]["PYTHON_IMAGE"]) == base
    assert [image for image in (*foreign, base) if not PINNED.fullmatch(image)] == []
    assert SERVICES["antiphon-1"]["build"]["dockerfile"] == "deploy/Containerfile"


def test_every_foreign_image_can_be_pinned_by_its_digest() -> None:
    digest = f"sha256:{'0' * 64}"
    script = ["/bin/sh", str(DEPLOY / "pin-images.sh")]
    environ = {"PATH": os.environ["PATH"], "INSPECT": f"sh -c 'echo {digest}'"}
    completed = subprocess.run(script, env=environ, check=True, capture_output=True, timeout=60)
    lines = dict(line.split("=") for line in completed.stdout.decode().splitlines())
    variables = re.findall(r"\$\{([A-Z]+_IMAGE)", (DEPLOY / "compose.yaml").read_text())
    failed = subprocess.run(
        script, env=environ | {"INSPECT": "true"}, capture_output=True, timeout=60, check=False
    )

    assert lines.keys() == set(variables)
    assert lines["POSTGRES_IMAGE"] == f"docker.io/library/postgres@{digest}"
    assert all(image.endswith(f"@{digest}") for image in lines.values())
    assert failed.returncode != 0


def test_only_nginx_names_the_address_of_a_client(tmp_path: Path) -> None:
    environ = {name: _fill_in(value) for name, value in SERVICES["web"]["environment"].items()}
    web = read_policy(load({}, {**environ, "HOME": str(tmp_path)}, tmp_path))
    nginx = _fill_in(SERVICES["nginx"]["networks"]["default"]["ipv4_address"])
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]

    assert web.trusts(nginx)
    assert ip_address(nginx) in ip_network(_fill_in(network["subnet"]))
    addresses = list(ip_network(_fill_in(network["subnet"])).hosts())
    assert [str(each) for each in addresses if web.trusts(str(each))] == [nginx]


def test_services_of_the_cluster_have_few_rights() -> None:
    for name, service in SERVICES.items():
        if name == "postgres":
            continue
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not str(service.get("user", "10001")).startswith("0"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_servers_have_a_readiness_check_and_time_to_end() -> None:
    for name in ("antiphon-1", "antiphon-2", "antiphon-3"):
        service = SERVICES[name]
        times = service["environment"]
        least = int(times["ANTIPHON_DRAIN_DELAY"]) + int(times["ANTIPHON_SHUTDOWN_TIMEOUT"]) + 10
        assert "/readyz" in service["healthcheck"]["test"][-1]
        assert int(service["stop_grace_period"].removesuffix("s")) >= least


def test_everything_a_service_needs_exists() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            exists = (
                (DEPLOY / source).exists() if source[0] == "." else source in COMPOSE["volumes"]
            )
            assert exists, volume


def test_manifests_are_of_known_kinds() -> None:
    assert [each["kind"] for each in MANIFESTS if KINDS[each["kind"]] != each["apiVersion"]] == []


def test_pods_run_as_nobody_and_change_nothing_of_their_own() -> None:
    for name, pod in _list_pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_pods_are_probed_at_paths_that_answer_and_have_time_to_end() -> None:
    server = next(pod["spec"] for name, pod in _list_pods() if name == "antiphon")
    probes = server["containers"][0]
    times = next(
        each["data"]
        for each in _list_manifests("ConfigMap")
        if "ANTIPHON_SHUTDOWN_TIMEOUT" in each["data"]
    )
    least = int(times["ANTIPHON_DRAIN_DELAY"]) + int(times["ANTIPHON_SHUTDOWN_TIMEOUT"]) + 10

    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["terminationGracePeriodSeconds"] >= least


def test_every_name_that_a_manifest_refers_to_exists() -> None:
    labels = [pod["metadata"]["labels"] for _, pod in _list_pods()]
    for service in _list_manifests("Service"):
        selector = service["spec"]["selector"].items()
        assert any(selector <= each.items() for each in labels), service["metadata"]
    for rule in _list_manifests("NetworkPolicy"):
        selector = rule["spec"]["podSelector"].get("matchLabels", {}).items()
        assert any(selector <= each.items() for each in labels), rule["metadata"]
    config_names = {
        each["metadata"]["name"]
        for each in (*_list_manifests("ConfigMap"), *_list_manifests("Secret"))
    }
    for _, pod in _list_pods():
        for source in pod["spec"]["containers"][0]["envFrom"]:
            assert next(iter(source.values()))["name"] in config_names
    services = {each["metadata"]["name"] for each in _list_manifests("Service")}
    for path in _list_manifests("Ingress")[0]["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"]["service"]["name"] in services
    resources = _list_manifests("Kustomization")[0]["resources"]
    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert files == {*resources, "kustomization.yaml", "secret.example.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kubectl_puts_the_manifests_together() -> None:
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes")]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert {each["metadata"].get("namespace") for each in yaml.safe_load_all(completed.stdout)} <= {
        "antiphon",
        None,
    }


def test_every_metric_of_the_dashboard_and_the_alerts_exists() -> None:
    dashboard = json.loads((DEPLOY / "grafana/antiphon.json").read_text())
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    expressions += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    known_names = set(_list_metric_names())
    used_names = {
        name
        for query in expressions
        for name in re.findall(r"(?:antiphon|process)_[a-z_]+", query.replace('job="antiphon"', ""))
    }

    assert used_names - known_names == set()
    assert {each.name for each in MEASURES} <= {
        _strip_suffix(name) for name in used_names | {"antiphon_info"}
    }


def _list_metric_names() -> Iterator[str]:
    for measure in MEASURES:
        if measure.kind == "histogram":
            yield from (f"{measure.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield measure.name


def _strip_suffix(name: str) -> str:
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
def test_the_first_keys_are_made_once_and_have_only_their_scopes(tmp_path: Path) -> None:
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
    secrets = {file.name: file.read_text() for file in keys.iterdir()}
    subprocess.run(script, env=environ, check=True, timeout=120)
    command = ["antiphon", "keys", "list", "--json"]
    completed = subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    scopes = {key["name"]: key["scopes"] for key in json.loads(completed.stdout)}

    assert {file.name: file.read_text() for file in keys.iterdir()} == secrets
    assert scopes == {"web": ["admin"], "prometheus": ["metrics"]}
    assert all(secret.startswith("ak_") for secret in secrets.values())
    assert (keys / "web").stat().st_mode & 0o077 == 0
