"""Who an account of this machine is, in the one spelling that records have of it."""

import pwd


def account_of(uid: int) -> str:
    """Return an account as `root (uid 0)`, or `uid 4711` where the system knows no name of it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
