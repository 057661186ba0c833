"""What is said when nothing may be done, because it could not be recorded: to callers, and to who starts a gateway."""

from pathlib import Path

from gateway.errors import ConfigurationInvalid, ErrorCode, Unavailable


def in_use(directory: Path) -> ConfigurationInvalid:
    """Return why a gateway cannot start on a directory that another one writes to."""
    return ConfigurationInvalid(
        ErrorCode.AUDIT_UNAVAILABLE,
        f"The audit directory {directory} is in use by another process.",
        hint="Nothing is waited for: start again when that one has ended, or give every process an audit directory of its own.",
    )


def unavailable() -> Unavailable:
    """Return what the caller of an intent that was not written is told."""
    return Unavailable(
        ErrorCode.AUDIT_UNAVAILABLE,
        "The audit record could not be written, so nothing was exchanged or started.",
        hint="Repeat the request later; the gateway's operators see why in its log.",
        retry_after_s=5,
    )


def copy_behind() -> Unavailable:
    """Return what a caller is told while the second copy of the record is too far behind."""
    return Unavailable(
        ErrorCode.AUDIT_UNAVAILABLE,
        "The second copy of the audit record is too far behind, so nothing was exchanged or started.",
        hint="Repeat the request later; the gateway's operators see why in its log.",
        retry_after_s=30,
    )
