"""The installed command on real folders, ports, journals and signals: what people see when it cannot do what they ask."""

import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateways import CONFIG, ROOT, Gateway, edit, fresh, running_gateway, write_config
from tests.support.installed import installed_gateway
from tests.support.provider import OidcProvider
from tests.support.scripted_aws import issues_credentials, running_scripted_aws
from tests.support.world import World

_LIMIT_S = 60


def run(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command with nothing of our own environment."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *(str(argument) for argument in arguments)],
        cwd=ROOT,
        env={"PATH": os.defpath, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The example configuration, to be spoilt. Whatever a checkout's umask is, nobody else can write it."""
    folder = tmp_path / "config"
    shutil.copytree(CONFIG, folder)
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return folder


# --- serve: why it does not start ---


def serve(
    config: Path, *arguments: object, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `serve` for AWS itself, where it has to fail. Its audit folder is beside the files."""
    audit = ("--audit", config.parent / "audit")
    return run("serve", "--allow-root", "--config", config, *audit, *arguments, environment=environment)


def logged_reason(refused: "subprocess.CompletedProcess[str]") -> str:
    """Return why it could not start, as its log has it: for whoever collects logs and sees no terminal."""
    (line,) = refused.stdout.splitlines()
    event = json.loads(line)
    assert (event["level"], event["message"]) == ("CRITICAL", "could not start")
    return str(event["why"])


def test_a_port_in_use_is_named(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = serve(config, "--port", port)

    assert (refused.returncode, logged_reason(refused) in refused.stderr) == (2, True)
    assert refused.stderr == (
        f"oidc-gateway serve: 127.0.0.1 port {port} is in use. "
        "Stop what listens there, or choose another port.\n"
    )


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused = serve(tmp_path / "none")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"oidc-gateway serve: there is no folder {tmp_path / 'none'}. "
        "Name the one with gateway.yaml: --config DIR.\n"
    )


def test_traces_without_the_extra_are_refused_with_what_to_install(config: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text('raise ModuleNotFoundError("hidden", name="opentelemetry")')
    environment = {
        "PYTHONPATH": str(hidden.parent),
        "OIDC_GATEWAY_TRACING_OTLP": "http://127.0.0.1:4318",
    }

    refused = serve(config, environment=environment)

    assert (refused.returncode, logged_reason(refused) in refused.stderr) == (2, True)
    assert refused.stderr == (
        "oidc-gateway serve: server.tracing.otlp is set, but opentelemetry is not installed. "
        "Run: pip install 'oidc-gateway[otel]'\n"
    )


@pytest.mark.requirement("MP-01")
def test_files_with_errors_are_answered_with_all_findings(config: Path) -> None:
    edit(config / "gateway.yaml", "preset: okta\n", "preset: octa\n")
    edit(config / "targets.yaml", "duration: 1h", "duration: 1d")

    refused = serve(config)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "gateway.yaml:" in refused.stderr
    assert "targets.yaml:" in refused.stderr
    assert refused.stderr.splitlines()[-1] == (
        f"oidc-gateway serve: the files of {config} cannot be used; their errors are above."
    )


@pytest.mark.requirement("MP-04")
def test_files_that_others_can_write_are_refused(config: Path) -> None:
    (config / "targets.yaml").chmod(0o666)

    refused = serve(config)

    assert refused.returncode == 2
    assert "targets.yaml:1:1" in refused.stderr
    assert "cannot be used" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param(
            "OIDC_GATEWAY_MAX_CONCURENCY", "1", "Did you mean OIDC_GATEWAY_MAX_CONCURRENCY?", id="misspelt"
        ),
        pytest.param("OIDC_GATEWAY_PORT", "http", "must be a whole number, not 'http'.", id="no number"),
        pytest.param("OIDC_GATEWAY_PORT", "tcp://10.96.0.7:80", "enableServiceLinks: false", id="Kubernetes"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(config: Path, variable: str, value: str, said: str) -> None:
    refused = serve(config, environment={variable: value})

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"oidc-gateway serve: {variable} ")
    assert said in refused.stderr


@pytest.mark.requirement("HT-16")
def test_beyond_loopback_it_does_not_listen_in_clear_text(config: Path) -> None:
    refused = serve(config, "--host", "0.0.0.0", "--port", "0")

    assert (refused.returncode, logged_reason(refused) in refused.stderr) == (2, True)
    assert "Listening on 0.0.0.0 without TLS would send tokens in the clear." in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root to be refused")
@pytest.mark.requirement("CO-01")
def test_root_is_refused_with_a_code_of_its_own(config: Path) -> None:
    refused = run("serve", "--config", config, "--port", "0")

    assert (refused.returncode, logged_reason(refused) in refused.stderr) == (78, True)
    assert refused.stderr == (
        "oidc-gateway serve: Refusing to run as root. Start as another user, or pass --allow-root.\n"
    )


@pytest.mark.parametrize("flag", ["emulator", "http"])
def test_what_only_dev_may_have_is_refused_for_aws_itself(tmp_path: Path, flag: str) -> None:
    config = write_config(tmp_path / "config", aws="http://127.0.0.1:9", emulator=flag == "emulator")

    refused = serve(config)

    assert refused.returncode == 2
    assert "--dev" in refused.stderr


# --- serve: while another one runs, and how it ends ---


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that nobody disturbs."""
    folder = tmp_path_factory.mktemp("running")
    config = write_config(folder / "config", aws="http://127.0.0.1:9")
    with running_gateway(config, folder / "audit") as gateway:
        yield gateway


@pytest.mark.requirement("AU-03")
def test_an_audit_folder_that_another_gateway_writes_is_refused_by_name(
    running: Gateway, config: Path
) -> None:
    refused = serve(config, "--port", "0", "--audit", running.audit)

    assert refused.returncode == 2
    assert str(running.audit) in refused.stderr.splitlines()[-1]
    assert "Nothing is waited for" in refused.stderr.splitlines()[-1]
    assert refused.stderr.splitlines()[-1].startswith("oidc-gateway serve: ")
    assert "Traceback" not in refused.stdout + refused.stderr


@pytest.mark.requirement("HT-14")
def test_ctrl_c_ends_it_in_order_and_without_a_traceback(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", aws="http://127.0.0.1:9")

    with running_gateway(config, tmp_path / "audit", environment={"OIDC_GATEWAY_SERVE_ON": "1s"}) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        code = gateway.ended()

    assert code == 0
    assert "Traceback" not in gateway.log()


# --- What the environment says to AWS's libraries is not said to the gateway ---


class Trap:
    """A server that nobody should ever come to. visits: connections so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.visits = 0

    def environment(self, home: Path) -> dict[str, str]:
        """Return what would lead boto3, curl or requests here, or lend them somebody's identity.

        home: where the files of that sort are written.
        """
        profile = f"region = us-west-2\nendpoint_url = {self.url}\nca_bundle = /nonexistent\n"
        process = f"credential_process = curl {self.url}\n"
        (home / ".aws").mkdir(parents=True)
        (home / ".aws" / "config").write_text(
            f"[default]\n{profile}{process}[profile trap]\n{profile}{process}"
        )
        (home / ".netrc").write_text("default login trap password not-a-secret\n")
        there = dict.fromkeys(
            (
                "AWS_ENDPOINT_URL",
                "AWS_ENDPOINT_URL_STS",
                "AWS_ENDPOINT_URL_SFN",
                "AWS_ENDPOINT_URL_STEPFUNCTIONS",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                *(f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL")),
                *(f"{scheme}_proxy" for scheme in ("http", "https", "all")),
            ),
            self.url,
        )
        return there | {
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": "AKIATRAPTRAPTRAPTRAP",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_SESSION_TOKEN": "not-a-token",
            "AWS_PROFILE": "trap",
            "AWS_REGION": "us-west-2",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_ROLE_ARN": "arn:aws:iam::999999999999:role/trap",
            "AWS_CA_BUNDLE": "/nonexistent",
            "NO_PROXY": "",
        }


@contextmanager
def trap() -> Iterator[Trap]:
    """Yield a server on loopback that counts whoever connects."""

    class Count(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            caught.visits += 1

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Count) as server:
        caught = Trap(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield caught
        finally:
            server.shutdown()


def test_the_trap_counts() -> None:
    with trap() as caught:
        host, port = caught.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as visitor:
            visitor.recv(1)

    assert caught.visits == 1


@pytest.mark.requirement("ST-01", "ST-05", "KS-09")
def test_neither_keys_nor_sts_nor_step_functions_are_asked_where_the_environment_points(
    ministack: str, oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    with (
        trap() as caught,
        installed_gateway(
            tmp_path,
            aws=ministack,
            okta=oidc_provider.okta,
            environment=caught.environment(tmp_path / "home"),
        ) as installed,
    ):
        execution = installed.start("trap-1")
        obtained = installed.gateway.ask(
            "POST", "/v1/credentials", oidc_provider.okta.token("agent"), body={"target": "agent"}
        )

    assert ":eu-west-1:111122223333:execution:" in execution
    assert obtained.status_code == 200
    assert not obtained.json()["AccessKeyId"].startswith("AKIATRAP")
    assert caught.visits == 0


@pytest.mark.requirement("ST-05")
def test_credentials_that_are_not_complete_are_not_completed_from_the_environment(tmp_path: Path) -> None:
    with trap() as caught, running_scripted_aws() as aws:
        aws.sts = issues_credentials(without="SessionToken")
        config = write_config(tmp_path / "config", aws=aws.url)
        environment = caught.environment(tmp_path / "home")
        with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
            refused = gateway.start(fresh(), "deploy-payments", key="trap-2", input={"version": "1.4.2"})

    assert (refused.status_code, refused.json()["code"]) == (502, "aws_answer_mismatch")
    assert aws.states_calls() == []
    assert caught.visits == 0


# --- explain and audit, on what really happened ---


@pytest.mark.requirement("AU-06")
def test_a_refused_request_is_explained_by_its_id(world: World) -> None:
    answer = world.start(
        world.mint("github", {"ref": "refs/heads/quick-fix"}),
        "deploy-payments",
        key="cli-refused",
        input={"version": "1.4.2"},
    )
    world.records(answer)  # a refusal does not wait for its record

    told = run("explain", answer.headers["x-request-id"], "--audit", world.audit)

    assert (answer.status_code, told.returncode, told.stderr) == (403, 0, "")
    assert "payments.prod" in told.stdout
    assert "refs/heads/quick-fix" in told.stdout
    assert "refs/heads/main" in told.stdout
    assert "eyJ" not in told.stdout


@pytest.mark.requirement("AU-06")
@pytest.mark.parametrize("by", ["request", "execution"])
def test_a_real_execution_is_explained(world: World, by: str) -> None:
    answer = world.start(world.lab(), "lab-echo", key=f"cli-{by}", input={}, target="lab-one")
    assert answer.status_code == 201, answer.text
    what = answer.headers["x-request-id"] if by == "request" else answer.json()["arn"]

    told = run("explain", what, "--audit", world.audit)

    assert (told.returncode, told.stderr) == (0, "")
    assert "lab.bench" in told.stdout
    assert "start lab-echo as lab-one, and that was done" in told.stdout
    assert answer.json()["arn"] in told.stdout


def test_what_was_never_asked_is_not_found(world: World) -> None:
    told = run("explain", "no-such-request", "--audit", world.audit)

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("No record of it.")


@pytest.fixture
def journal(world: World, tmp_path: Path) -> Path:
    """A copy of a real journal with records in it."""
    world.records(world.start(world.lab(), "lab-echo", key="cli-journal", input={}, target="lab-one"))
    return Path(shutil.copytree(world.audit, tmp_path / "audit"))


@pytest.mark.requirement("AU-03")
def test_a_real_journal_is_intact(journal: Path) -> None:
    verified = run("audit", "verify", "--audit", journal)

    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.startswith("Intact: ")


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda line: line.replace(b"lab-one", b"lab-two"), id="edited"),
        pytest.param(lambda line: b"", id="removed"),
        pytest.param(lambda line: line + line, id="repeated"),
    ],
)
def test_a_real_journal_with_one_line_tampered_is_not(journal: Path, tamper: object) -> None:
    assert callable(tamper)
    file = next(path for path in journal.iterdir() if b"lab-one" in path.read_bytes())
    lines = file.read_bytes().splitlines(keepends=True)
    place = next(place for place, line in enumerate(lines) if b"lab-one" in line)
    file.write_bytes(b"".join([*lines[:place], tamper(lines[place]), *lines[place + 1 :]]))

    verified = run("audit", "verify", "--audit", journal)

    assert (verified.returncode, verified.stderr) == (1, "")
    assert f"{file.name}:" in verified.stdout
    assert "Not intact: " in verified.stdout.splitlines()[-1]


# --- check ---


def test_the_example_configuration_is_good(config: Path) -> None:
    checked = run("check", config)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == (
        "No findings. 6 rules, 6 targets, 4 workflows.\n"
        "Remark: CI jobs reach a deployment environment through payments.ci, payments.prod, payments.migrate, with "
        "tokens that can be used until they expire; `replay: once` or `per-request` would end that.\n"
    )
