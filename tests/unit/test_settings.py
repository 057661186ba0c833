"""Settings: read once, a flag before the environment before the files before the default, and nothing misspelt is overlooked."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from gateway.audit.heads import Pledge
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.serving import LimitsShape, ServerShape
from gateway.settings.loading import load_settings
from gateway.settings.setting import OTHER_VARIABLES, SETTINGS, SettingInvalid
from gateway.settings.settings import Settings, SyslogSettings
from gateway.state.address import RedisAddress
from gateway.state.rates import Rate

VARIABLE = {setting.path: setting.variable for setting in SETTINGS}
FLAG = {setting.path: setting.flag for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One setting, a different value in each place that can give it, and what becomes of each.

    attribute: of Settings. beside: what else the file has to say with it. under: what it says in any case.
    """

    path: str
    attribute: str
    default: object
    file: tuple[object, object]
    environment: tuple[str, object]
    flag: tuple[object, object] | None = None
    beside: Mapping[str, object] | None = None
    under: Mapping[str, object] | None = None

    def held(self, settings: Settings) -> object:
        """Return what became of it."""
        found: object = attrgetter(self.attribute)(settings)
        return found

    def written(self, value: object) -> dict[str, object]:
        """Return a file that gives it."""
        return {**(self.under or {}), self.path: value, **(self.beside or {})}


def syslog(
    *,
    to: str = "tcp://[::1]:514",
    ca_file: Path | None = None,
    max_lag_s: int | None = 3_600,
    max_message_bytes: int = 8_192,
) -> SyslogSettings:
    return SyslogSettings(to=to, ca_file=ca_file, max_lag_s=max_lag_s, max_message_bytes=max_message_bytes)


CASES = (
    Case(
        path="server.host",
        attribute="host",
        default="127.0.0.1",
        file=("::1", "::1"),
        environment=("127.0.0.2", "127.0.0.2"),
        flag=("127.0.0.3", "127.0.0.3"),
    ),
    Case(
        path="server.port",
        attribute="port",
        default=8080,
        file=(8081, 8081),
        environment=("8082", 8082),
        flag=(8083, 8083),
    ),
    Case(
        path="server.public_url",
        attribute="public_url",
        default=None,
        file=("https://gateway.acme.example/", "https://gateway.acme.example"),
        environment=("https://other.acme.example", "https://other.acme.example"),
    ),
    Case(
        path="server.log",
        attribute="log",
        default="json",
        file=("console", "console"),
        environment=("json", "json"),
        flag=("console", "console"),
    ),
    Case(
        path="server.behind_tls_proxy",
        attribute="behind_tls_proxy",
        default=False,
        file=(True, True),
        environment=("false", False),
    ),
    Case(
        path="server.hosts",
        attribute="hosts",
        default=(),
        file=(["a.example"], ("a.example",)),
        environment=("b.example, 10.0.0.1,::1", ("b.example", "10.0.0.1", "::1")),
    ),
    Case(
        path="server.trusted_proxies",
        attribute="trusted_proxies",
        default=(),
        file=(["10.0.0.0/8"], ("10.0.0.0/8",)),
        environment=("192.0.2.1,2001:db8::/64", ("192.0.2.1", "2001:db8::/64")),
    ),
    Case(
        path="server.tls.certificate",
        attribute="tls_certificate",
        default=None,
        file=("/tls/file.pem", Path("/tls/file.pem")),
        environment=("/tls/variable.pem", Path("/tls/variable.pem")),
        beside={"server.tls.key": "/tls/key.pem"},
    ),
    Case(
        path="server.tls.key",
        attribute="tls_key",
        default=None,
        file=("/tls/file.pem", Path("/tls/file.pem")),
        environment=("/tls/variable.pem", Path("/tls/variable.pem")),
        beside={"server.tls.certificate": "/tls/certificate.pem"},
    ),
    Case(
        path="server.workers",
        attribute="workers",
        default=1,
        file=(2, 2),
        environment=("3", 3),
        flag=(4, 4),
    ),
    Case(
        path="server.max_concurrency",
        attribute="max_concurrency",
        default=ServerShape().max_concurrency,
        file=(10, 10),
        environment=("20", 20),
    ),
    Case(
        path="server.max_connections",
        attribute="max_connections",
        default=10_000,
        file=(10, 10),
        environment=("20", 20),
    ),
    Case(path="server.idle", attribute="idle_s", default=5, file=("1m", 60), environment=("2s", 2)),
    Case(
        path="server.serve_on",
        attribute="serve_on_s",
        default=5,
        file=("1m", 60),
        environment=("2s", 2),
    ),
    Case(path="server.drain", attribute="drain_s", default=25, file=("1m", 60), environment=("2s", 2)),
    Case(
        path="server.tracing.otlp",
        attribute="tracing.otlp",
        default=None,
        file=("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        environment=("https://otel.acme.example/v1/traces", "https://otel.acme.example/v1/traces"),
    ),
    Case(
        path="server.tracing.ratio",
        attribute="tracing.ratio",
        default=1.0,
        file=(0.25, 0.25),
        environment=("0.5", 0.5),
    ),
    Case(
        path="server.tracing.follow_callers",
        attribute="tracing.follow_callers",
        default=False,
        file=(True, True),
        environment=("true", True),
    ),
    Case(
        path="limits.address",
        attribute="limits.address",
        default=None,
        file=("600/1m", Rate(quota=600, window_s=60)),
        environment=("5/2s", Rate(quota=5, window_s=2)),
    ),
    Case(
        path="limits.subject",
        attribute="limits.subject",
        default=Rate(quota=6000, window_s=60),
        file=("600/1h", Rate(quota=600, window_s=3600)),
        environment=("unlimited", None),
    ),
    Case(
        path="limits.rule",
        attribute="limits.rule",
        default=Rate(quota=30_000, window_s=60),
        file=("unlimited", None),
        environment=("7/1s", Rate(quota=7, window_s=1)),
    ),
    Case(
        path="limits.waiting",
        attribute="limits.waiting",
        default=500,
        file=(10, 10),
        environment=("20", 20),
    ),
    Case(
        path="limits.connections",
        attribute="limits.connections",
        default=None,
        file=(10, 10),
        environment=("20", 20),
    ),
    Case(
        path="state.url",
        attribute="state",
        default=None,
        file=("rediss://file:6380/1", RedisAddress(scheme="rediss", host="file", port=6380, database=1)),
        environment=("unix:///run/r.sock", RedisAddress(scheme="unix", socket="/run/r.sock")),
        flag=("redis://127.0.0.1", RedisAddress(scheme="redis", host="127.0.0.1", port=6379)),
    ),
    *(
        Case(
            path=f"state.{name}",
            attribute=f"state.{name}",
            default=None,
            file=("file", expected.format("file")),
            environment=("variable", expected.format("variable")),
            beside=beside,
            under={"state.url": "rediss://redis.example"},
        )
        for name, expected, beside in (
            ("username", "{}", {"state.password_file": "password"}),
            ("password_file", "config/{}", {}),
            ("ca_file", "config/{}", {}),
            ("certificate", "config/{}", {"state.key": "key.pem"}),
            ("key", "config/{}", {"state.certificate": "certificate.pem"}),
        )
    ),
    Case(
        path="state.prefix",
        attribute="state.prefix",
        default="oidc-gateway:",
        file=("file:", "file:"),
        environment=("variable:", "variable:"),
        under={"state.url": "rediss://redis.example"},
    ),
    Case(
        path="state.timeout_ms",
        attribute="state.timeout_s",
        default=0.25,
        file=(100, 0.1),
        environment=("500", 0.5),
        under={"state.url": "rediss://redis.example"},
    ),
    Case(
        path="state.without_tls",
        attribute="state.host",
        default="127.0.0.1",
        file=(True, "redis.example"),
        environment=("true", "redis.example"),
        beside={"state.url": "redis://redis.example"},
        under={"state.url": "redis://127.0.0.1"},
    ),
    Case(
        path="state.switches",
        attribute="switches.file",
        default=Path("audit/switches.json"),
        file=("/file", Path("/file")),
        environment=("/variable", Path("/variable")),
        flag=("/flag", Path("/flag")),
    ),
    Case(
        path="audit.directory",
        attribute="audit.directory",
        default=Path("audit"),
        file=("/file", Path("/file")),
        environment=("/variable", Path("/variable")),
        flag=("/flag", Path("/flag")),
    ),
    Case(
        path="audit.rotate_bytes",
        attribute="audit.rotate_bytes",
        default=64 * 1024 * 1024,
        file=(65_536, 65_536),
        environment=("131072", 131_072),
    ),
    Case(
        path="audit.signing_key",
        attribute="audit.signing_key",
        default=None,
        file=("/file.pem", Path("/file.pem")),
        environment=("/variable.pem", Path("/variable.pem")),
    ),
    Case(
        path="audit.head_records",
        attribute="audit.pledge",
        default=Pledge(),
        file=(10, Pledge(records=10)),
        environment=("20", Pledge(records=20)),
    ),
    Case(
        path="audit.head_every",
        attribute="audit.pledge",
        default=Pledge(),
        file=("5m", Pledge(seconds=300)),
        environment=("5s", Pledge(seconds=5)),
    ),
    Case(
        path="audit.syslog.to",
        attribute="audit.syslog",
        default=None,
        file=("tls://syslog.acme.example:6514", syslog(to="tls://syslog.acme.example:6514")),
        environment=("unix:/dev/log", syslog(to="unix:/dev/log")),
    ),
    Case(
        path="audit.syslog.ca_file",
        attribute="audit.syslog",
        default=None,
        file=("/file.pem", syslog(ca_file=Path("/file.pem"))),
        environment=("/variable.pem", syslog(ca_file=Path("/variable.pem"))),
        beside={"audit.syslog.to": "tcp://[::1]:514"},
    ),
    Case(
        path="audit.syslog.max_lag",
        attribute="audit.syslog",
        default=None,
        file=("5m", syslog(max_lag_s=300)),
        environment=("unlimited", syslog(max_lag_s=None)),
        beside={"audit.syslog.to": "tcp://[::1]:514"},
    ),
    Case(
        path="audit.syslog.max_message_bytes",
        attribute="audit.syslog",
        default=None,
        file=(300_000, syslog(max_message_bytes=300_000)),
        environment=("4096", syslog(max_message_bytes=4_096)),
        beside={"audit.syslog.to": "tcp://[::1]:514"},
    ),
)
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)


def load(
    written: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    *,
    dev: bool = False,
    allow_root: bool = False,
) -> Settings:
    """Load settings. written, flags: by path, such as `server.tls.key`."""
    blocks: dict[str, dict[str, object]] = {"server": {}, "limits": {}, "state": {}, "audit": {}}
    for path, value in (written or {}).items():
        *above, name = path.split(".")
        block = blocks[above[0]]
        for key in above[1:]:
            inner = block.setdefault(key, {})
            assert isinstance(inner, dict)
            block = inner
        block[name] = value
    return load_settings(
        config=Path("config"),
        server=ServerShape.model_validate(blocks["server"]),
        audit=AuditShape.model_validate(blocks["audit"]),
        limits=LimitsShape.model_validate(blocks["limits"]),
        state=StateShape.model_validate(blocks["state"]),
        environment=environment or {},
        flags=flags or {},
        dev=dev,
        allow_root=allow_root,
    )


def test_every_setting_has_a_case_here() -> None:
    assert [case.path for case in CASES] == [setting.path for setting in SETTINGS]


@EACH
def test_a_setting_that_nobody_gives_has_its_default(case: Case) -> None:
    assert case.held(load(case.under)) == case.default


@EACH
def test_the_file_wins_over_the_default(case: Case) -> None:
    value, expected = case.file

    assert case.held(load(case.written(value))) == expected


@EACH
def test_the_environment_wins_over_the_file(case: Case) -> None:
    value, expected = case.environment

    settings = load(case.written(case.file[0]), {VARIABLE[case.path]: value})

    assert case.held(settings) == expected


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.path != "state.prefix"], ids=lambda case: case.path
)
def test_a_variable_without_a_value_counts_as_not_set(case: Case) -> None:
    settings = load(case.written(case.file[0]), {VARIABLE[case.path]: ""})

    assert case.held(settings) == case.file[1]


@pytest.mark.parametrize("case", [case for case in CASES if case.flag], ids=lambda case: case.path)
def test_a_flag_wins_over_everything(case: Case) -> None:
    assert case.flag is not None
    value, expected = case.flag

    settings = load({case.path: case.file[0]}, {VARIABLE[case.path]: case.environment[0]}, {case.path: value})

    assert case.held(settings) == expected


def test_the_flags_are_those_that_have_a_case() -> None:
    assert [case.path for case in CASES if case.flag] == [path for path, flag in FLAG.items() if flag]


@pytest.mark.requirement("HT-10")
@pytest.mark.parametrize(
    ("server", "seen"),
    [
        pytest.param({}, False, id="loopback: the peer is a proxy on this machine"),
        pytest.param(
            {"host": "192.0.2.1", "behind_tls_proxy": True}, False, id="behind a proxy that is not listed"
        ),
        pytest.param(
            {"host": "192.0.2.1", "behind_tls_proxy": True, "trusted_proxies": ["192.0.2.0/24"]},
            True,
            id="behind a listed proxy",
        ),
        pytest.param({"host": "192.0.2.1"}, True, id="reached by callers themselves"),
    ],
)
def test_addresses_are_limited_by_default_where_they_are_those_of_callers(
    server: Mapping[str, object], seen: bool
) -> None:
    settings = load({f"server.{name}": value for name, value in server.items()})

    assert settings.limits.address == (Rate(quota=6000, window_s=60) if seen else None)
    assert settings.limits.connections == (1000 if seen else None)


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_must_say_a_name(host: str) -> None:
    with pytest.raises(SettingInvalid, match="says nothing about the gateway's name"):
        load({"server.host": host, "server.behind_tls_proxy": True})

    assert load({"server.host": host, "server.hosts": ["gateway.example"]}).hosts == ("gateway.example",)


@pytest.mark.requirement("HT-16")
def test_certificate_and_key_may_come_from_the_environment_alone() -> None:
    settings = load(environment={"OIDC_GATEWAY_TLS_CERTIFICATE": "/a.pem", "OIDC_GATEWAY_TLS_KEY": "/b.pem"})

    assert (settings.tls_certificate, settings.tls_key) == (Path("/a.pem"), Path("/b.pem"))


@pytest.mark.parametrize(
    ("dev", "allow_root", "expected"),
    [
        pytest.param(False, False, False, id="neither"),
        pytest.param(True, False, True, id="--dev"),
        pytest.param(False, True, True, id="--allow-root"),
    ],
)
def test_root_is_allowed_where_it_was_asked_for(dev: bool, allow_root: bool, expected: bool) -> None:
    assert load(dev=dev, allow_root=allow_root).allow_root is expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        pytest.param("PORT", "http", "must be a whole number, not 'http'.", id="no number"),
        pytest.param("PORT", "65536", "must be at most 65535, not '65536'.", id="too great"),
        pytest.param("PORT", "-1", "must be at least 0, not '-1'.", id="too small"),
        pytest.param("PORT", "80.5", "must be a whole number, not '80.5'.", id="fraction"),
        pytest.param("LOG", "xml", "must be 'json' or 'console', not 'xml'.", id="no choice"),
        pytest.param("BEHIND_TLS_PROXY", "maybe", "must be true or false, not 'maybe'.", id="no switch"),
        pytest.param("DRAIN", "25", "must be a time such as 30s, 15m or 1h, not '25'.", id="no unit"),
        pytest.param("SERVE_ON", "0s", "must be a time such as 30s, 15m or 1h, not '0s'.", id="no time"),
        pytest.param(
            "PUBLIC_URL",
            "gateway",
            "must be a URL such as https://gateway.acme.example, without query and fragment, not 'gateway'.",
            id="no URL",
        ),
        pytest.param(
            "TLS_CERTIFICATE",
            "/a.pem",
            "server.tls.key is missing; it goes with the other half of TLS ($OIDC_GATEWAY_TLS_KEY).",
            id="half of TLS",
        ),
        pytest.param(
            "HOSTS",
            "https://a",
            "must be names without scheme and port, commas between, not 'https://a'.",
            id="no name",
        ),
        pytest.param(
            "HOSTS",
            "*.example",
            "must be names without scheme and port, commas between, not '*.example'.",
            id="pattern",
        ),
        pytest.param(
            "TRUSTED_PROXIES",
            "alb",
            "must be networks such as 10.0.0.0/16, commas between, not 'alb'.",
            id="no network",
        ),
        pytest.param(
            "TRUSTED_PROXIES",
            "10.0.0.1/8",
            "must hold networks such as 10.0.0.0/16, without bits beyond the prefix, not '10.0.0.1/8'.",
            id="bits beyond the prefix",
        ),
        pytest.param(
            "LIMITS_ADDRESS", "600", "must be a rate such as 600/1m, or unlimited, not '600'.", id="no rate"
        ),
        pytest.param(
            "LIMITS_RULE",
            "0/1m",
            "must be a rate such as 600/1m, or unlimited, not '0/1m'.",
            id="nothing at all",
        ),
        pytest.param("AUDIT_ROTATE_BYTES", "1", "must be at least 65536, not '1'.", id="too small a file"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_and_what_it_must_be(
    name: str, value: str, said: str
) -> None:
    variable = f"OIDC_GATEWAY_{name}"

    with pytest.raises(SettingInvalid) as refused:
        load(environment={variable: value})

    assert str(refused.value) == (said if said.startswith("server.") else f"{variable} {said}")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        pytest.param(
            "server.port", 65536, "--port must be at most 65535, not 65536.", id="too great a number"
        ),
        pytest.param("audit.directory", "", "--audit must not be empty.", id="empty"),
    ],
)
def test_a_flag_that_cannot_be_used_is_named_as_it_was_written(path: str, value: object, said: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        load(flags={path: value})

    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(
            "OIDC_GATEWAY_PROT",
            "OIDC_GATEWAY_PROT is no setting. Did you mean OIDC_GATEWAY_PORT?",
            id="letters swapped",
        ),
        pytest.param(
            "OIDC_GATEWAY_MAX_CONCURENCY",
            "OIDC_GATEWAY_MAX_CONCURENCY is no setting. Did you mean OIDC_GATEWAY_MAX_CONCURRENCY?",
            id="letter missing",
        ),
        pytest.param(
            "OIDC_GATEWAY_AUDIT_DIR",
            "OIDC_GATEWAY_AUDIT_DIR is no setting. Did you mean OIDC_GATEWAY_AUDIT_DIRECTORY?",
            id="shortened",
        ),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(name: str, said: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        load(environment={name: "1"})

    assert str(refused.value) == said


def test_other_programs_variables_and_the_folder_s_are_no_business_of_the_settings() -> None:
    environment = {"PORT": "1", "AWS_REGION": "us-east-1", "HTTPS_PROXY": "http://proxy.example:3128"}

    assert load(environment=environment | dict.fromkeys(OTHER_VARIABLES, "elsewhere")) == load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("OIDC_GATEWAY_PORT", "tcp://10.96.0.7:8080", id="PORT"),
        pytest.param("OIDC_GATEWAY_SERVICE_HOST", "10.96.0.7", id="SERVICE_HOST"),
        pytest.param("OIDC_GATEWAY_SERVICE_PORT", "8080", id="SERVICE_PORT"),
        pytest.param("OIDC_GATEWAY_SERVICE_PORT_HTTPS", "8443", id="named port"),
        pytest.param("OIDC_GATEWAY_PORT_8080_TCP", "tcp://10.96.0.7:8080", id="PORT_8080_TCP"),
        pytest.param("OIDC_GATEWAY_PORT_8080_TCP_ADDR", "10.96.0.7", id="PORT_8080_TCP_ADDR"),
    ],
)
def test_what_kubernetes_adds_for_a_service_of_our_name_is_explained(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        load(environment={name: value})

    assert str(refused.value) == (
        f"{name} was set by Kubernetes for a Service named oidc-gateway. "
        "Write enableServiceLinks: false into the Pod's spec, or name the Service otherwise."
    )


@pytest.mark.requirement("TV-45")
@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("http://redis.example", "must begin with redis://, rediss:// or unix://", id="http"),
        pytest.param("redis.example:6379", "must begin with redis://", id="no scheme"),
        pytest.param("rediss://", "has no host; write it as rediss://redis.example:6379/0", id="no host"),
        pytest.param(
            "rediss://redis.example:secret",
            "has no host or port that can be read; write it as rediss://",
            id="port",
        ),
        pytest.param("rediss://redis.example/first", "names a database that is no number", id="database"),
        pytest.param("rediss://redis.example?db=1", "must not have a query", id="query"),
        pytest.param("rediss://redis.example#1", "must not have a fragment", id="fragment"),
        pytest.param("unix://run/redis.sock", "must name the socket by its whole path", id="relative socket"),
        pytest.param(
            "unix:///r.sock?db=1&password=x", "may have db in its query and nothing else", id="options"
        ),
        pytest.param("redis://redis.example", "must begin with rediss://", id="without TLS beyond loopback"),
    ],
)
def test_an_address_of_redis_that_cannot_be_used_is_refused_with_advice(url: str, said: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^OIDC_GATEWAY_STATE_URL ") as refused:
        load(environment={"OIDC_GATEWAY_STATE_URL": url})

    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis://gateway:hunter2@127.0.0.1", "rediss://:hunter2@redis.example"])
def test_a_password_in_the_address_of_redis_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingInvalid, match="use username and password_file") as refused:
        load({"state.url": url})

    assert "hunter2" not in str(refused.value)


def test_redis_without_tls_is_for_loopback_even_in_development() -> None:
    assert load({"state.url": "redis://127.0.0.1"}).state is not None
    with pytest.raises(SettingInvalid, match="must begin with rediss://"):
        load({"state.url": "redis://redis.example"}, dev=True)


def test_half_of_a_certificate_for_redis_is_refused() -> None:
    with pytest.raises(SettingInvalid, match=r"state\.certificate and state\.key go together"):
        load({"state.url": "rediss://redis.example", "state.key": "key.pem"})


@pytest.mark.parametrize(
    ("written", "environment", "name"),
    [
        pytest.param({"state.username": "gateway"}, {}, "state.username", id="file"),
        pytest.param(
            {}, {"OIDC_GATEWAY_STATE_USERNAME": "gateway"}, "OIDC_GATEWAY_STATE_USERNAME", id="variable"
        ),
    ],
)
def test_a_user_of_redis_without_a_password_is_refused(
    written: dict[str, str], environment: dict[str, str], name: str
) -> None:
    with pytest.raises(SettingInvalid, match=f"^{name} names a user, but .*OIDC_GATEWAY_STATE_PASSWORD_FILE"):
        load({"state.url": "rediss://redis.example", **written}, environment)


def test_an_empty_prefix_is_refused_because_installations_would_share_what_they_have() -> None:
    with pytest.raises(SettingInvalid, match=r"^OIDC_GATEWAY_STATE_PREFIX is empty"):
        load({"state.url": "rediss://redis.example"}, {"OIDC_GATEWAY_STATE_PREFIX": ""})


def test_switches_in_redis_need_a_redis() -> None:
    with pytest.raises(SettingInvalid, match=r"state\.switches is redis, but state\.url names no Redis"):
        load({"state.switches": "redis"})

    assert load({"state.switches": "redis", "state.url": "rediss://redis.example"}).switches.shared
