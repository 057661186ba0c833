"""Cold tokens: many distinct ones, really signed, shaped like those of GitHub Actions; and bad ones of each kind."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwt.algorithms import RSAAlgorithm

ISSUER: Final = "https://token.actions.githubusercontent.com"
AUDIENCE: Final = "https://gateway.acme.example"
#: The claim that every peer has to check.
CLAIM: Final = ("repository_id", "4711")
SUBJECT: Final = "repo:acme/payments:environment:prod"
KEY_ID: Final = "bench-1"

_LIFETIME_S: Final = 86_000
_USABLE_S: Final = 72_000  # younger tokens are used again: a signature costs most of a millisecond


class TokensUnusable(Exception):
    """The folder of tokens cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """file: one compact token a line, each different. count: how many. jwks: the key set that fits."""

    file: Path
    count: int
    jwks: bytes
    private: rsa.RSAPrivateKey

    def public_pem(self) -> str:
        """Return the key as those want it who do not read key sets."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def good(self) -> str:
        """Return a token that every peer lets in, and that is not in the file."""
        return compact(claims(-1, int(time.time())), self.private)

    def bad(self) -> Mapping[str, str]:
        """Return tokens that no peer may let in, by what is wrong with them; everything else is right."""
        now = int(time.time())
        sound = claims(-2, now)
        head, _, signature = compact(sound, self.private).rpartition(".")
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name, _ = CLAIM
        return {
            "the signature of another key": compact(sound, stranger),
            "the signature of other claims": f"{head.rpartition('.')[0]}.{_part(claims(-3, now))}.{signature}",
            "a wrong issuer": compact({**sound, "iss": f"{ISSUER}/other"}, self.private),
            "a wrong audience": compact({**sound, "aud": "https://other.example"}, self.private),
            "an expiry that is past": compact(claims(-4, now - 3 * 86_400), self.private),
            "a wrong claim": compact({**sound, name: "4712"}, self.private),
        }


def claims(number: int, now: int) -> dict[str, object]:
    """Return 25 claims. number: what makes them different from any other."""
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "jti": f"{number & 0xFFFFFFFF:08x}-6ab8-4b1e-9a0d-0f6a8f3e0001",
        "iat": now,
        "nbf": now,
        "exp": now + _LIFETIME_S,
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "sha": "3f1c9d6e2b7a4850c1d2e3f405162738495a6b7c",
        "repository": "acme/payments",
        CLAIM[0]: CLAIM[1],
        "repository_owner": "acme",
        "repository_owner_id": "12",
        "repository_visibility": "private",
        "actor": "jo",
        "actor_id": "815",
        "event_name": "push",
        "environment": "prod",
        "run_id": str(9_000_000 + number),
        "run_number": "42",
        "run_attempt": "1",
        "job_workflow_ref": "acme/payments/.github/workflows/deploy.yaml@refs/heads/main",
        "runner_environment": "github-hosted",
    }


def compact(payload: Mapping[str, object], private: rsa.RSAPrivateKey) -> str:
    """Return the RS256 token of these claims."""
    signed = f"{_part({'alg': 'RS256', 'kid': KEY_ID, 'typ': 'JWT'})}.{_part(payload)}"
    signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_b64(signature)}"


def _part(members: Mapping[str, object]) -> str:
    return _b64(json.dumps(members, separators=(",", ":")).encode())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def supply(folder: Path, count: int, *, log: Callable[[str], None]) -> Supply:
    """Return so many tokens, made now unless the folder holds them and they live for some hours yet. Raises TokensUnusable."""
    file = folder / f"tokens-{count}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        private = _private_key(folder / "key.pem")
        if not _is_whole(file, count):
            log(f"Signing {count:,} tokens; they are kept for the next {_USABLE_S // 3600} hours.")
            _mint(file, count, folder / "key.pem")
    except (OSError, ValueError) as fault:
        # A key that is no PEM text is a ValueError.
        message = (
            f"{folder} cannot keep the tokens: {fault}. Remove it, or name another place with XDG_CACHE_HOME."
        )
        raise TokensUnusable(message) from fault
    return Supply(file=file, count=count, jwks=_jwks(private), private=private)


def _is_whole(file: Path, count: int) -> bool:
    if not file.exists() or time.time() - file.stat().st_mtime > _USABLE_S:
        return False
    with file.open("rb") as lines:
        return sum(1 for _ in lines) == count


def _mint(file: Path, count: int, key: Path) -> None:
    draft = file.with_suffix(".draft")
    now = int(time.time())
    pool = ProcessPoolExecutor(max_workers=os.cpu_count())
    try:
        with draft.open("w") as lines:
            for job in [pool.submit(_batch, key, numbers, now) for numbers in batches(count, 1_000)]:
                lines.writelines(f"{token}\n" for token in job.result())
    except BaseException:
        draft.unlink()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    draft.replace(file)


def batches(count: int, size: int) -> Iterator[range]:
    """Yield the numbers below `count` in ranges of at most this size."""
    for first in range(0, count, size):
        yield range(first, min(first + size, count))


def _batch(key: Path, numbers: range, now: int) -> list[str]:
    private = _private_key(key)
    return [compact(claims(number, now), private) for number in numbers]


def _private_key(file: Path) -> rsa.RSAPrivateKey:
    if not file.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.touch(mode=0o600)
        file.write_bytes(text)
        for old in file.parent.glob("tokens-*.txt"):
            old.unlink()  # of a key that is gone
    loaded = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def _jwks(private: rsa.RSAPrivateKey) -> bytes:
    members = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    members.pop("key_ops", None)
    return json.dumps({"keys": [{**members, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}).encode()
