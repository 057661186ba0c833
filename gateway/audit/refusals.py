"""What callers are told when nothing may be done, because it could not be recorded."""

from gateway.errors import ErrorCode, Unavailable


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
