"""The settings of `serve` by name: where each stands in the files, and its variable and flag."""

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "OIDC_GATEWAY_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of `serve`. path: its place in `gateway.yaml`. flag: of `serve`, None when it has none.

    many: a list, which its variable holds with commas between.
    """

    path: str
    flag: str | None = None
    many: bool = False

    @property
    def variable(self) -> str:
        """Return the environment variable that overrides the file."""
        return PREFIX + self.path.removeprefix("server.").replace(".", "_").upper()


#: Every setting; where several places give one, the flag wins over the environment and that over the file.
SETTINGS: Final = (
    Setting(path="server.host", flag="--host"),
    Setting(path="server.port", flag="--port"),
    Setting(path="server.public_url"),
    Setting(path="server.log", flag="--log"),
    Setting(path="server.behind_tls_proxy"),
    Setting(path="server.hosts", many=True),
    Setting(path="server.trusted_proxies", many=True),
    Setting(path="server.tls.certificate"),
    Setting(path="server.tls.key"),
    Setting(path="server.workers", flag="--workers"),
    Setting(path="server.max_concurrency"),
    Setting(path="server.max_connections"),
    Setting(path="server.idle"),
    Setting(path="server.serve_on"),
    Setting(path="server.drain"),
    Setting(path="server.tracing.otlp"),
    Setting(path="server.tracing.ratio"),
    Setting(path="server.tracing.follow_callers"),
    Setting(path="limits.address"),
    Setting(path="limits.subject"),
    Setting(path="limits.rule"),
    Setting(path="limits.waiting"),
    Setting(path="limits.connections"),
    Setting(path="state.url", flag="--state"),
    Setting(path="state.username"),
    Setting(path="state.password_file"),
    Setting(path="state.ca_file"),
    Setting(path="state.certificate"),
    Setting(path="state.key"),
    Setting(path="state.prefix"),
    Setting(path="state.timeout_ms"),
    Setting(path="state.without_tls"),
    Setting(path="state.switches", flag="--switches"),
    Setting(path="audit.directory", flag="--audit"),
    Setting(path="audit.rotate_bytes"),
    Setting(path="audit.signing_key"),
    Setting(path="audit.head_records"),
    Setting(path="audit.head_every"),
    Setting(path="audit.syslog.to"),
    Setting(path="audit.syslog.ca_file"),
    Setting(path="audit.syslog.max_lag"),
    Setting(path="audit.syslog.max_message_bytes"),
)
#: Variables that no block of a file can hold.
OTHER_VARIABLES: Final = (f"{PREFIX}CONFIG", f"{PREFIX}ADMIN_TOKEN")


class SettingInvalid(Exception):
    """A flag or an environment variable cannot be used. The message names it and says what it must be."""
