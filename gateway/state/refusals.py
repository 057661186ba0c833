"""Why a reservation could not be had, as callers are told: the same sentences for every store."""

from gateway.errors import ErrorCode, Unavailable


def too_late() -> Unavailable:
    """Return the refusal of a reservation that would be over before it began."""
    return Unavailable(
        ErrorCode.REPLAY_STORE_UNAVAILABLE,
        "The token would be forgotten before it is used.",
        hint="The clocks of this gateway and of its shared state differ, or the token has expired by now.",
    )


def lease_over() -> Unavailable:
    """Return the refusal to act under a reservation that is somebody else's, or nobody's, by now."""
    return Unavailable(
        ErrorCode.REPLAY_STORE_UNAVAILABLE,
        "The call took longer than its reservation lasts; nothing was done.",
        hint="Send the same request again.",
        retry_after_s=1,
    )


def store_full() -> Unavailable:
    """Return the refusal of a store that holds all it can: nothing alive is evicted for a newcomer."""
    return Unavailable(
        ErrorCode.REPLAY_STORE_FULL,
        "No more used tokens can be remembered at the moment.",
        hint="Try again when older tokens have expired.",
        retry_after_s=10,
    )


def store_unavailable() -> Unavailable:
    """Return the refusal while used tokens can be neither looked up nor remembered."""
    return Unavailable(
        ErrorCode.REPLAY_STORE_UNAVAILABLE,
        "Whether the token was used before cannot be found out at the moment; nothing was done.",
        hint="Send the same request again in a few seconds. Where the store still took it in, that is answered "
        "request_in_progress for half a minute: wait Retry-After, and send it again.",
        retry_after_s=2,
    )


def switches_unavailable(
    why: str = "The switches cannot be read or turned at the moment.",
    hint: str = "Try again in a few seconds.",
) -> Unavailable:
    """Return the refusal while switches can be neither read nor turned."""
    return Unavailable(ErrorCode.SWITCHES_UNAVAILABLE, why, hint=hint, retry_after_s=2)
