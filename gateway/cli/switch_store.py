"""Where the switches are, by the settings of `serve`: for commands, which work while files are broken as well."""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.audit.safe_text import one_line
from gateway.clock import SystemClock
from gateway.files.folder import Sources
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.keeping import AuditShape
from gateway.files.schema.serving import ServerShape
from gateway.settings.loading import SWITCHES_FILE, load_settings
from gateway.settings.setting import SETTINGS, Setting, SettingInvalid
from gateway.settings.settings import Settings
from gateway.sharing import shared_switches, switches_elsewhere
from gateway.state.address import RedisAddress
from gateway.state.switch_file import SwitchFile
from gateway.state.switches import SwitchStore

_SWITCHES: Final = Setting(path="state.switches", flag="--switches")
_STATE: Final = Setting(path="state.url", flag="--state")
_PREFIX: Final = Setting(path="state.prefix")
_AUDIT: Final = Setting(path="audit.directory", flag="--audit")


class StoreUnknown(Exception):
    """Nobody can tell where the switches are. The message says what to name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store of switches. what: as people call it. file: the file that it is, None when it is no file."""

    store: SwitchStore
    what: str
    file: SwitchFile | None


def add_store_options(parser: argparse.ArgumentParser, default: Path) -> None:
    """Add what says where the switches are, as `serve` takes it."""
    parser.add_argument("--config", type=Path, default=default, metavar="DIR", help=f"the files ({default})")
    parser.add_argument("--switches", metavar="FILE", help=f"the switches of `serve` (${_SWITCHES.variable})")
    parser.add_argument("--state", metavar="URL", help=f"shared state of `serve` (${_STATE.variable})")
    parser.add_argument(
        "--audit",
        metavar="DIR",
        help=f"audit folder of `serve`, where the switches are else (${_AUDIT.variable})",
    )


@asynccontextmanager
async def opened_store(args: argparse.Namespace, sources: Sources | None) -> AsyncIterator[Opened]:
    """Open the store of the gateway with these settings; raises StoreUnknown."""
    shape = _shape(sources)
    async with shared_switches(_settings(args, shape), clock=SystemClock()) as store:
        yield _file(args, shape) if store is None else Opened(store=store, what="Redis", file=None)


def _settings(args: argparse.Namespace, shape: GatewayShape | None) -> Settings:
    """Return the settings as far as they say where the switches are; what else they hold may be anything."""
    flags = {"state.url": args.state, "state.switches": args.switches}
    names = {setting.variable for setting in SETTINGS if setting.path.startswith("state.")}
    try:
        return load_settings(
            config=args.config,
            server=ServerShape(),
            audit=AuditShape(),
            state=shape.state if shape else None,
            environment={name: value for name, value in os.environ.items() if name in names},
            flags={path: value for path, value in flags.items() if value is not None},
        )
    except SettingInvalid as fault:
        raise StoreUnknown(str(fault)) from None


def _shape(sources: Sources | None) -> GatewayShape | None:
    return sources.gateway.shape if sources is not None and sources.gateway is not None else None


def _file(args: argparse.Namespace, shape: GatewayShape | None) -> Opened:
    named = args.switches or os.environ.get(_SWITCHES.variable) or (shape.state.switches if shape else None)
    if named:
        return _opened(Path(named), may_be_absent=False)
    directory = args.audit or os.environ.get(_AUDIT.variable) or (shape.audit.directory if shape else None)
    if directory is None:
        raise StoreUnknown(
            f"gateway.yaml in {args.config} cannot be read, and it may say where the switches are. "
            "Name their file: --switches FILE."
        )
    if not Path(directory).is_dir():
        raise StoreUnknown(
            f"There is no audit folder {directory}, where the switches of a gateway are. Go where `serve` was started, "
            "or name it with --audit DIR, or the file with --switches FILE."
        )
    _must_be_here(Path(directory))
    return _opened(Path(directory) / SWITCHES_FILE, may_be_absent=True)


def _must_be_here(folder: Path) -> None:
    """Raise StoreUnknown for an audit folder whose gateway looks elsewhere: what is turned there, nobody would heed."""
    here = f"If no gateway on it does so any more: --switches {folder / SWITCHES_FILE}"
    try:
        found = switches_elsewhere(folder)
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it is damaged"
        raise StoreUnknown(
            f"A gateway noted in {folder} that its switches are elsewhere, and the note cannot be read: {why}. "
            f"Name them with --switches, and --state for Redis. {here}."
        ) from None
    if found is None:
        return
    if found.file is not None:
        where, options = one_line(found.file, limit=1_000), "--switches FILE, with that name"
    else:
        where = f"Redis ({one_line(found.state, limit=1_000)})"
        options = f"--switches redis --state {one_line(found.state, limit=1_000)}"
        if found.prefix != RedisAddress(scheme="redis").prefix:
            options += f", with {_PREFIX.variable}={one_line(found.prefix, limit=200)}"
    raise StoreUnknown(
        f"The gateway on {folder} has its switches in {where} and heeds none in this folder, so nothing was done. "
        f"Add {options}. {here}."
    )


def _opened(path: Path, *, may_be_absent: bool) -> Opened:
    file = SwitchFile(path, may_be_absent=may_be_absent)
    return Opened(store=file, what=str(path), file=file)
