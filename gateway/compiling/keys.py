"""Where an issuer's keys come from: addresses that can be trusted, key files and CA files that can be used."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.compiling.report import Spot
from gateway.files.schema.issuers import IssuerShape
from gateway.files.source import FindingCode, Source, show
from gateway.identity.certificates import holds_certificates
from gateway.identity.issuer import KeyLocation
from gateway.identity.jwk import DropReason
from gateway.identity.keys import read_key_set
from gateway.strict_json import StrictJsonError

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
MAX_URL: Final = 255


class KeysOfIssuer:
    """Judges where one issuer's keys come from."""

    def __init__(
        self, shape: IssuerShape, spot: Spot, attachments: Mapping[str, Source], *, dev: bool
    ) -> None:
        self._shape = shape
        self._spot = spot
        self._attachments = attachments
        self._dev = dev

    def location(self, issuer: str) -> KeyLocation:
        """Return where the keys are; what is wrong with it goes to the report."""
        shape, spot = self._shape, self._spot
        given = [
            name for name in ("discovery_url", "jwks_uri", "jwks_file") if getattr(shape, name) is not None
        ]
        for name in given[1:]:
            (spot / name).error(
                FindingCode.VALUE_INVALID,
                f"{name} and {given[0]} both say where the keys are.",
                "Keep one.",
                key=True,
            )
        for name, url in (("discovery_url", shape.discovery_url), ("jwks_uri", shape.jwks_uri)):
            if (
                url is not None
                and judge_url(url, spot / name, dev=self._dev, of_issuer=False)
                and url == issuer
            ):
                (spot / name).error(
                    FindingCode.VALUE_INVALID,
                    f"{name} is the issuer itself.",
                    "Write the complete URL of the document.",
                )
        self._networks()
        static = self._static_keys()
        ca = ca_certificates(shape.ca_file, self._attachments, spot / "ca_file")
        derived = issuer.removesuffix("/") + _WELL_KNOWN
        uses_discovery = shape.jwks_uri is None and shape.jwks_file is None
        urls = (issuer, shape.discovery_url or "", shape.jwks_uri or "")
        return KeyLocation(
            discovery_url=(shape.discovery_url or derived) if uses_discovery else None,
            jwks_uri=shape.jwks_uri,
            static_jwks=static,
            hosts=tuple(shape.jwks_hosts or ()),
            ca_pem=ca,
            allow_addresses=tuple(shape.allow_addresses or ()),
            allow_http=self._dev and any(url.startswith("http://") for url in urls),
        )

    def _networks(self) -> None:
        shape, spot = self._shape, self._spot
        for index, text in enumerate(shape.allow_addresses or ()):
            try:
                ip_network(text)
            except ValueError:
                (spot / "allow_addresses" / index).error(
                    FindingCode.VALUE_INVALID,
                    f"{show(text)} is no network.",
                    "Write it as 10.1.2.0/24, host bits zero.",
                )
        for index, host in enumerate(shape.jwks_hosts or ()):
            if not host.isascii() or urlsplit(f"https://{host}/").netloc != host or "@" in host or not host:
                (spot / "jwks_hosts" / index).error(
                    FindingCode.VALUE_INVALID,
                    f"{show(host)} is no host.",
                    "Write the host alone, without https://.",
                )
        if shape.jwks_hosts and (shape.jwks_uri or shape.jwks_file):
            (spot / "jwks_hosts").warning(
                FindingCode.VALUE_INVALID,
                "jwks_hosts has no effect without discovery.",
                "Remove it.",
                key=True,
            )

    def _static_keys(self) -> str | None:
        name = self._shape.jwks_file
        source = _readable(name, self._attachments)
        if name is None or source is None:
            return None
        spot = self._spot / "jwks_file"
        try:
            keys = read_key_set(source.text.encode())
        except StrictJsonError as error:
            spot.error(
                FindingCode.KEYS_UNUSABLE, f"{name}: {error.message}", 'Write a JWK set: {"keys": […]}.'
            )
            return None
        for dropped in keys.dropped:
            if dropped.reason in {DropReason.PRIVATE, DropReason.SYMMETRIC}:
                spot.error(
                    FindingCode.SECRET_IN_FILE,
                    f"{name} holds a {dropped.reason} key.",
                    "Replace the key; keep only its public part here.",
                )
            else:
                spot.warning(
                    FindingCode.KEYS_UNUSABLE,
                    f"A key in {name} is not used: {dropped.reason}.",
                    "Remove or replace it.",
                )
        if not keys.thumbprints:
            spot.error(
                FindingCode.KEYS_UNUSABLE,
                f"{name} holds no usable key.",
                "Add the issuer's public signing keys.",
            )
            return None
        return source.text


def ca_certificates(name: str | None, attachments: Mapping[str, Source], spot: Spot) -> str | None:
    """Return the PEM text of a `ca_file`; None when none is named or it cannot be used."""
    source = _readable(name, attachments)
    if name is None or source is None:
        return None
    if not holds_certificates(source.text):
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{name} holds no certificate.",
            "Put PEM certificates there: -----BEGIN CERTIFICATE-----.",
        )
        return None
    return source.text


def _readable(name: str | None, attachments: Mapping[str, Source]) -> Source | None:
    """Return a readable file; what is wrong with it is reported with all attachments."""
    source = attachments.get(name) if name is not None else None
    return source if source is not None and source.readable else None


def judge_url(url: str, spot: Spot, *, dev: bool, of_issuer: bool) -> bool:
    """Report a URL that cannot be trusted; return whether it can be. http is for loopback and `--dev`."""
    fault = url_fault(url, of_issuer=of_issuer)
    if fault is not None:
        exactly = ", exactly as in `iss`" if of_issuer else ""
        spot.error(
            FindingCode.ISSUER_INSECURE, f"{show(url)} {fault}.", f"Write it as https://HOST/PATH{exactly}."
        )
        return False
    if url.startswith("http://") and not dev:
        spot.error(
            FindingCode.DEV_ONLY,
            f"{show(url)} is not encrypted; http is accepted for loopback addresses and only with --dev.",
            "Write https://.",
        )
        return False
    return True


def url_fault(url: str, *, of_issuer: bool) -> str | None:
    """Say why a URL cannot be trusted, None when it can. http passes for literal loopback addresses alone."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > MAX_URL:
        return f"is no ASCII URL of at most {MAX_URL} characters"
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts)):
        return "is not https"
    if not parts.hostname or port == 0:
        return "has no host"
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return "holds user information"
    if parts.fragment or "#" in url or (of_issuer and "?" in url):
        return "has a query or a fragment"
    if any(part in {".", ".."} for part in parts.path.split("/")) or "%2e" in url.lower():
        return "has dot segments"
    return None


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
