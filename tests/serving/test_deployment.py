"""The metrics, options, paths, files and limits named in deploy/, the Dockerfile and the Lambda handler exist."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import bertie
from bertie.cli.serve import serve
from bertie.serving.server_process import ROUTES
from bertie.serving.service import Limits

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
WORD = re.compile(r"[a-z_]\w*")
PROMQL = {"sum", "by", "le", "rate", "histogram_quantile", "err", "m"}
PUBLIC = {route.path for route in ROUTES if getattr(route, "public", False)}


def options_of(command: list[str]) -> dict[str, str]:
    """Return the options of a command line that begins with `bertie serve`; one that does not exist is an error."""
    app = typer.Typer()
    app.command()(serve)
    parsed = typer.main.get_command(app).make_context("serve", command, resilient_parsing=False).params
    return {name: str(value) for name, value in parsed.items()}


def read(name: str) -> Any:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


def test_the_dashboard_queries_existing_metrics(served: Callable[..., Any]) -> None:
    client = served("classes")
    client.post("/predict", json={"inputs": [["a"], ["a b c"]]})
    client.post("/predict", json={"inputs": ""})
    lines = client.get("/metrics").text.splitlines()
    assert "bertie_step_padding_sum 2.0" in lines
    exported = {line.partition(" ")[0].partition("{")[0] for line in lines}
    dashboard = json.loads((DEPLOY / "grafana" / "bertie.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    for query in queries:
        names = set(WORD.findall(re.sub(r"\[\d+m\]|by \(\w+\)", "", query))) - PROMQL
        assert names, query
        assert names <= exported, f"{query} asks for {names - exported}"


def test_compose() -> None:
    (compose,) = read("compose.yaml")
    services = compose["services"]
    assert (DEPLOY / services["bertie"]["build"] / "Dockerfile").is_file()
    mounted = [one.split(":")[:2] for service in services.values() for one in service.get("volumes", ())]
    assert all((DEPLOY / source).is_file() for source, _ in mounted)
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in dict(mounted).values()
    (prometheus,) = read("prometheus.yml")
    assert prometheus["scrape_configs"][0]["static_configs"] == [{"targets": ["bertie:8080"]}]
    (datasource,) = read("grafana/datasource.yaml")
    (found,) = datasource["datasources"]
    dashboard = json.loads((DEPLOY / "grafana" / "bertie.json").read_text("utf-8"))
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {found["uid"]}
    assert found["url"] == "http://prometheus:9090"
    (provider,) = read("grafana/dashboards.yaml")[0]["providers"]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards"
    assert int(services["bertie"]["stop_grace_period"].removesuffix("s")) > Limits().seconds


def test_the_image_serves() -> None:
    entry, command = (
        json.loads(re.findall(rf"^{word} (\[.*\])$", DOCKERFILE, re.M)[0]) for word in ("ENTRYPOINT", "CMD")
    )
    assert entry[:2] == ["bertie", "serve"]
    options = options_of(entry[2:] + command)
    assert (options["host"], options["port"]) == ("0.0.0.0", "8080")
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.M), "a number, so that Kubernetes knows that it is not root"
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    assert set(re.findall(r"127.0.0.1:8080(/\w+)", DOCKERFILE)) <= PUBLIC


def test_the_unit_of_systemd() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "bertie.service")
    command = shlex.split(unit["Service"]["ExecStart"])
    assert command[1] == "serve"
    assert float(unit["Service"]["TimeoutStopSec"]) > float(options_of(command[2:])["timeout"])
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", DEPLOY / "bertie.service"], capture_output=True, text=True)
        unknown = [line for line in done.stderr.splitlines() if "bertie.service:" in line and "executable" not in line]
        assert unknown == []


def test_kubernetes() -> None:
    deployment, service = read("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["path"] in PUBLIC
        assert container[name]["httpGet"]["port"] == container["ports"][0]["name"]
    options = options_of(container["args"])
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > float(options["timeout"]) + pause
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert pod["securityContext"]["runAsNonRoot"]


def test_nginx(tmp_path: Path) -> None:
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    assert "client_max_body_size 10m;" in text
    assert Limits().body <= 10 << 20
    assert float(re.findall(r"proxy_read_timeout (\d+)s", text)[0]) > Limits().seconds
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    plain = re.sub(r"^ *ssl_.*$", "", text, flags=re.M).replace("443 ssl", "127.0.0.1:8443")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{plain}\n}}\n")
    done = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sagemakers_paths_answer_for_every_head(served: Callable[..., Any]) -> None:
    bodies: dict[str, Any] = {
        "vectors": {"inputs": "a"},
        "classes": {"inputs": "a"},
        "score": {"query": "a", "texts": ["b"]},
        "tags": {"inputs": "a"},
        "spans": {"question": "a", "context": "b"},
        "words": {"inputs": "a [MASK]"},
        "choices": {"prompt": "a", "choices": ["b", "c"]},
    }
    for kind, body in bodies.items():
        client = served(kind)
        assert client.get("/ping").status_code == 200
        reply = client.post("/invocations", json=body)
        assert reply.status_code == 200, (kind, reply.text)


@pytest.mark.parametrize(
    ("body", "status"),
    [('{"inputs": "A cat.", "top_k": 1}', 200), ('"A cat."', 400), ("{", 400), ('{"inputs": 1}', 400)],
)
def test_the_handler_for_lambda(
    body: str, status: int, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTIE_TASK", "text-classification")
    monkeypatch.setenv("BERTIE_MODEL", str(folders["classes"]))
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from lambda_handler import handler; "
        "print(json.dumps(handler({'body': sys.argv[2]}))); assert 'torch' not in sys.modules"
    )
    given = [sys.executable, "-c", code, str(DEPLOY), body]
    reply = json.loads(subprocess.run(given, capture_output=True, text=True, check=True).stdout)
    answer = json.loads(reply["body"])
    assert reply["statusCode"] == status
    if status == 200:
        wanted = bertie.pipeline("text-classification", folders["classes"])("A cat.")[0]
        assert answer == [{"label": wanted["label"], "score": pytest.approx(wanted["score"], abs=1e-5)}]
    else:
        assert answer["error"].endswith(".")
