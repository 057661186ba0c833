"""`oidc-gateway serve`: settings, files, and the server around the application."""

import argparse
import logging
import os
import sys
from contextlib import closing
from pathlib import Path

from gateway.admin.check import render_text
from gateway.audit.ledger import is_held
from gateway.audit.refusals import in_use
from gateway.cli.confinement import confine, shed_aws_identity
from gateway.cli.floors import refuse_below_floors
from gateway.cli.folder import Loaded, as_written, load_or_complain, unfit_for
from gateway.cli.logs import LogOutput, configure_logging
from gateway.cli.options import CONFIG_VARIABLE, COULD_NOT_RUN, default_config
from gateway.cli.serving import serve_here, why_not
from gateway.cli.supervisor import supervise
from gateway.compiling.central import Serving
from gateway.errors import GatewayError
from gateway.listening.server import CannotServe
from gateway.settings.loading import load_settings
from gateway.settings.setting import SETTINGS, SettingInvalid
from gateway.settings.settings import Settings

_log = logging.getLogger(__name__)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        help="serve callers, by the files of a folder",
        description=(
            "Serves callers by the files of a folder, which is watched: a good change is in force within a second, "
            "a bad one changes nothing and is reported. SIGTERM ends it gracefully."
        ),
        epilog=(
            "Settings come from flags, then from variables OIDC_GATEWAY_…, then from `server`, `audit`, `state` and "
            "`limits` in gateway.yaml; `admin` and `issuers` are there alone. "
            "Exit codes: 0 ended as told, 2 could not run, 78 refused to run as root."
        ),
    )
    parser.add_argument(
        "--config", type=Path, metavar="DIR", default=None, help=f"the files (${CONFIG_VARIABLE}, or config)"
    )
    parser.add_argument(
        "--host", dest="server.host", metavar="ADDRESS", help="address to listen on (127.0.0.1)"
    )
    parser.add_argument(
        "--port", dest="server.port", type=int, metavar="N", help="port; 0 takes a free one (8080)"
    )
    parser.add_argument(
        "--workers", dest="server.workers", type=int, metavar="N", help="processes that serve on the port (1)"
    )
    parser.add_argument(
        "--log",
        dest="server.log",
        choices=("json", "console"),
        help="one JSON object a line, or text for people",
    )
    parser.add_argument(
        "--state", dest="state.url", metavar="URL", help="Redis or Valkey that workers and replicas share"
    )
    parser.add_argument(
        "--switches",
        dest="state.switches",
        metavar="FILE",
        help="what is switched off (switches.json in the folder of the audit record)",
    )
    parser.add_argument(
        "--audit", dest="audit.directory", metavar="DIR", help="folder of the audit record (audit)"
    )
    parser.add_argument(
        "--dev",
        action="store_true",
        help="allow plain http to loopback addresses, emulators, and running as root; never for real AWS",
    )
    parser.add_argument("--allow-root", action="store_true", help="run as root all the same")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    confine(debuggable=arguments.dev)
    shed = shed_aws_identity(os.environ)
    folder = arguments.config or default_config()
    loaded = load_or_complain(
        folder, dev=arguments.dev, lenient=arguments.dev, command="serve", serving=as_written
    )
    if loaded is None:
        return COULD_NOT_RUN
    given = vars(arguments)
    flags = {setting.path: given[setting.path] for setting in SETTINGS if given.get(setting.path) is not None}
    try:
        refuse_below_floors()
        settings = load_settings(
            config=folder,
            server=loaded.server,
            audit=loaded.audit,
            limits=loaded.limits,
            state=loaded.state,
            admin=loaded.admin,
            environment=os.environ,
            flags=flags,
            dev=arguments.dev,
            allow_root=arguments.allow_root,
        )
        _refuse_unfit(loaded, settings)
        with closing(configure_logging(settings.log, "INFO")) as log:
            if shed:
                _log.warning("variables of AWS are not used and were removed", extra={"variables": shed})
            return _serve(settings, log)
    except (SettingInvalid, CannotServe, GatewayError) as fault:
        told = why_not(fault)
        print(f"oidc-gateway serve: {told.reason}", file=sys.stderr)
        return told.exit_code


def _refuse_unfit(loaded: Loaded, settings: Settings) -> None:
    """Raise CannotServe for rules that cannot hold as the service is started, whatever its files say of it."""
    serving = Serving(workers=settings.workers, shared=settings.state is not None)
    unfit = unfit_for(loaded, serving, dev=settings.dev)
    if unfit:
        print(render_text(unfit, folder=str(settings.config)), file=sys.stderr)
        raise CannotServe(
            f"{settings.workers} workers without shared state cannot count tokens, which the rules above ask for. "
            "Name a Redis with --state, or take --workers 1."
        )


def _refuse_held(settings: Settings) -> None:
    """Raise ConfigurationInvalid while another gateway has the audit folder, before workers take seconds to find out."""
    audit = settings.audit.directory
    several = [audit / f"w{number}" for number in range(1, settings.workers + 1)]
    for folder in several if settings.workers > 1 else [audit]:
        if is_held(folder):
            raise in_use(folder)


def _serve(settings: Settings, log: LogOutput) -> int:
    def announce(url: str) -> None:
        print(f"Listening on {url}", file=sys.stderr, flush=True)

    try:
        _refuse_held(settings)
        if settings.workers > 1:
            return supervise(settings, log, announce=announce)
        return serve_here(settings, log, announce=announce)
    except (SettingInvalid, CannotServe, GatewayError) as fault:
        why_not(fault).log()
        raise
