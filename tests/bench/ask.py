"""What a peer is asked, as a form that a token and a number fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

#: Stand in headers and body for the token, and for a number that no other request to that peer has.
TOKEN: Final = "{token}"
NUMBER: Final = "{number}"
_BEARER: Final = MappingProxyType({"Authorization": f"Bearer {TOKEN}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One kind of request."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: _BEARER)
    body: str = ""

    def filled(self, token: str, number: int) -> tuple[dict[str, str], bytes]:
        """Return headers and body of one request."""

        def fill(text: str) -> str:
            return text.replace(TOKEN, token).replace(NUMBER, str(number))

        return {name: fill(value) for name, value in self.headers.items()}, fill(self.body).encode()

    def head(self) -> str:
        """Return the header section as it goes over the wire, but for the fields `Host` and `Content-Length`."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{fields}"
