"""What the process around the doors may touch: files, memory images, ambient identities, libraries; on real processes."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.gateways import CONFIG, Gateway, fresh, running_gateway, write_config
from tests.support.processes import descendants
from tests.support.scripted_aws import ScriptedAws
from tests.support.sealed import USER, sealed, why_not_sealed

DEPLOY, GOOD = "deploy-payments", {"version": "1.4.2"}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what it thinks of a process")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of this test's own that everybody may go through, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="oidc-gateway-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.requirement("CO-01", "CO-02", "CO-03", "SE-07")
@pytest.mark.skipif(
    why_not_sealed() is not None and os.environ.get("REQUIRE_REAL") != "1", reason=why_not_sealed() or ""
)
def test_nobody_without_a_capability_serves_from_a_disk_that_is_read_only_but_for_the_records(
    open_folder: Path, workers: str
) -> None:
    # As in production, keys from files: nothing here is allowed by --dev.
    config = write_config(open_folder / "config", aws="https://aws.invalid")
    for path in [config, *config.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    audit, temporary = open_folder / "audit", open_folder / "tmp"
    temporary.mkdir()
    prefix = sealed(config, writable=[audit], temporary=temporary)

    with running_gateway(
        config,
        audit,
        mode=f"--workers={workers}",
        prefix=prefix,
        environment={"TMPDIR": str(temporary)},
    ) as gateway:
        status = status_of(gateway)
        # The kernel gives what it tells of a process to root where nobody else may look into it (proc(5)).
        lookers = [Path(f"/proc/{process}/environ").stat().st_uid for process in family_of(gateway)]
        known = gateway.get("/v1/whoami", fresh())
        refused = gateway.start(fresh(), "no-such-workflow", input=GOOD, key="1")
        gateway.process.send_signal(signal.SIGTERM)
        code = gateway.process.wait(60)
    records = [path for path in audit.rglob("*") if path.is_file()]
    lines = "".join(path.read_text(errors="replace") for path in records)

    assert (known.status_code, refused.status_code, code) == (200, 404, 0), gateway.log()
    assert {status["Uid"].split()[0], status["Gid"].split()[0]} == {str(USER)}
    assert lookers == [0] * (1 if workers == "1" else 3)
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert refused.json()["request_id"] in lines
    assert {oct(path.stat().st_mode & 0o077) for path in [audit, *audit.rglob("*")]} == {"0o0"}


def family_of(gateway: Gateway) -> list[int]:
    """Return the processes of a gateway that are its own: itself, and its workers."""
    return [
        process
        for process in descendants(gateway.process.pid)
        if b"resource_tracker" not in Path(f"/proc/{process}/cmdline").read_bytes()
    ]


def status_of(gateway: Gateway) -> Mapping[str, str]:
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


@LINUX
@pytest.mark.requirement("SE-07", "CO-07")
def test_every_process_of_a_gateway_writes_privately_and_leaves_no_memory_image(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    environment = {"OIDC_GATEWAY_WORKERS": "2", "TMPDIR": str(tmp_path)}

    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        family = family_of(gateway)
        cores = [resource.prlimit(process, resource.RLIMIT_CORE) for process in family]
        masks = [
            re.findall(r"^Umask:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
            for process in family
        ]

    assert len(family) == 3
    assert cores == [(0, 0)] * 3
    assert masks == [["0077"]] * 3


@LINUX
@pytest.mark.requirement("SE-07")
def test_a_gateway_that_crashes_shows_where_and_nothing_that_it_held(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    token = fresh()

    with running_gateway(
        config, tmp_path / "audit", environment={"PYTHONFAULTHANDLER": "1", "TMPDIR": str(tmp_path)}
    ) as gateway:
        assert gateway.get("/v1/whoami", token).status_code == 200
        gateway.process.send_signal(signal.SIGSEGV)
        ended = gateway.ended()
    _head, payload, signature = token.split(".")

    assert ended == -signal.SIGSEGV
    assert "Fatal Python error" in gateway.log()
    assert not [part for part in (payload, signature) if part in gateway.log()]
    assert not list(Path.cwd().glob("core*"))


@pytest.mark.requirement("CO-04", "ST-01", "ST-05")
def test_an_identity_that_lies_about_is_named_and_never_used_nor_sent(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    scripted_aws.begin()
    home = tmp_path / ".aws"
    home.mkdir()
    (home / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAOFTHEHOME\naws_secret_access_key = s\n"
    )
    (home / "config").write_text("[default]\nrole_arn = arn:aws:iam::111122223333:role/ambient\n")
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        ambient = {
            "AWS_ACCESS_KEY_ID": "AKIAOFTHEENVIRONMENT",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_SESSION_TOKEN": "ambient-session",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_REGION": "us-gov-west-1",
        }
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url)

        with running_gateway(config, tmp_path / "audit", environment=ambient | proxies) as gateway:
            started = gateway.start(fresh(), DEPLOY, input=GOOD, key="ambient")
        with pytest.raises(TimeoutError):
            trap.accept()
    sent = b"".join(request.body + repr(request.headers).encode() for request in scripted_aws.peer.received)
    warnings = [json.loads(line) for line in gateway.lines if "variables of AWS" in line]

    assert started.status_code == 201, started.text
    assert [call["Action"] for call in scripted_aws.sts_calls()] == ["AssumeRoleWithWebIdentity"]
    assert not [word for word in (b"AKIA", b"ambient", b"not-a-secret") if word in sent]
    assert [set(line["variables"]) for line in warnings] == [ambient.keys() - {"AWS_REGION"}]


# What nobody here asked for: parsers of bodies and templates, other protocols, slower or laxer twins, and what only commands use.
_FORBIDDEN: Final = frozenset(
    {
        "boto3", "botocore.loaders", "dateutil", "defusedxml", "h11", "h2", "hpack", "html5lib", "hvac", "jinja2",
        "limits", "lxml", "multipart", "opentelemetry", "orjson", "pip", "pkg_resources", "python_multipart", "rapidjson", "redis", "requests",
        "s3transfer", "setuptools",
        "simplejson", "starlette.schemas", "starlette.staticfiles", "starlette.templating", "tomllib", "ujson",
        "websockets", "wsproto", "xml.sax", "xmlrpc",
    }
)  # fmt: skip


@pytest.mark.requirement("DE-04", "HT-17")
def test_a_gateway_that_has_served_never_loaded_a_parser_that_it_does_not_use(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    scripted_aws.begin()
    config = write_config(tmp_path / "config", aws=scripted_aws.url)

    with running_gateway(config, tmp_path / "audit", module="tests.support.telling_gateway") as gateway:
        answers = [
            gateway.start(fresh(), DEPLOY, input=GOOD, key="served"),
            gateway.exchange(fresh(), audience="payments-prod"),
            gateway.get("/v1/whoami", fresh()),
            gateway.get("/metrics"),
            gateway.get("/nowhere"),
        ]
        gateway.process.send_signal(signal.SIGTERM)
        gateway.ended()
    [told] = [line for line in gateway.lines if line.startswith("modules: ")]
    loaded = set(json.loads(told.removeprefix("modules: ")))

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 404]
    assert {"jwt", "starlette.routing", "gateway.app"} <= loaded
    assert sorted(loaded & _FORBIDDEN) == []


@pytest.mark.requirement("DE-06")
def test_with_assertions_switched_off_a_gateway_refuses_and_allows_the_same(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    scripted_aws.begin()
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    forged = fresh().rpartition(".")[0] + "." + fresh().rpartition(".")[2]

    with running_gateway(config, tmp_path / "audit", environment={"PYTHONOPTIMIZE": "2"}) as gateway:
        answers = [
            gateway.start(fresh(), DEPLOY, input=GOOD, key="good"),
            gateway.start(forged, DEPLOY, input=GOOD, key="forged"),
            gateway.start(fresh(exp=1_700_000_000), DEPLOY, input=GOOD, key="expired"),
            gateway.start(fresh(aud="https://other.example"), DEPLOY, input=GOOD, key="audience"),
            gateway.start(fresh(environment="staging"), DEPLOY, input=GOOD, key="claim"),
            gateway.start(fresh(), DEPLOY, input={"version": "no"}, key="input"),
        ]

    assert [answer.status_code for answer in answers] == [201, 401, 401, 401, 403, 422]


@pytest.mark.parametrize("arguments", [["--version"], ["check", "config"], ["serve", "--help"]])
@pytest.mark.requirement("DE-06")
def test_the_command_needs_nothing_of_the_folder_or_the_environment_that_it_is_started_in(
    tmp_path: Path, arguments: list[str]
) -> None:
    # Whatever lies in the working folder or on PYTHONPATH is not loaded instead of the standard library.
    (tmp_path / "json.py").write_text("raise SystemExit(66)\n")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(66)\n")
    (tmp_path / "config").symlink_to(CONFIG)
    command = [sys.executable, "-I", "-m", "gateway", *arguments]

    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
