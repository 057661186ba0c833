"""Where AWS answers, by service and Region, from botocore's endpoint data; nothing of the environment has a say.

The data is botocore's, its code is not used: it would keep all services in memory (7 MB) and brings along urllib3,
dateutil and more (4 MB), a tenth of what a start takes. A test compares all answers with botocore's own.
"""

import importlib.resources
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Literal

import msgspec

Service = Literal["sts", "states"]


class RegionUnknown(ValueError):
    """No partition of AWS has a Region of that name."""


class AwsEndpointData:
    """botocore's table of partitions, Regions and host names, read once."""

    def __init__(self) -> None:
        # Of Regions that stand in the administrators' files: few.
        self._urls: dict[tuple[Service, str, str], str] = {}

    def load(self) -> None:
        """Read the table now (about 3 ms), so that no caller waits for it; otherwise the first use does."""
        _ = self._partitions

    def url(self, service: Service, region: str, *, overrides: Mapping[str, str], prefix: str = "") -> str:
        """Return the base URL, with its closing slash; raises RegionUnknown.

        overrides: base URL per Region that replaces AWS's own; it never gets the prefix.
        prefix:    put before AWS's host name, such as `sync-`.
        """
        override = overrides.get(region)
        if override is not None:
            return override.rstrip("/") + "/"
        known = self._urls.get((service, region, prefix))
        if known is None:
            known = f"https://{prefix}{self._holder(service, region).host(service, region)}/"
            self._urls[service, region, prefix] = known
        return known

    def partition(self, region: str) -> str:
        """Return the partition of a Region, such as `aws-cn`; raises RegionUnknown."""
        return self._holder("sts", region).partition

    def _holder(self, service: Service, region: str) -> "_Partition":
        # The first that has it: a pattern of one partition may fit another's Regions.
        for partition in self._partitions:
            if partition.has(service, region):
                return partition
        raise RegionUnknown(f"no AWS partition has a Region {region!r}")

    @cached_property
    def _partitions(self) -> "tuple[_Partition, ...]":
        # From the package alone: ~/.aws/models, where botocore looks too, is anybody's file, and would redirect us.
        text = importlib.resources.files("botocore").joinpath("data", "endpoints.json").read_bytes()
        return msgspec.json.decode(text, type=_Table).partitions


class _Scope(msgspec.Struct, frozen=True):
    region: str | None = None


class _Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    """What is written of one endpoint, or of all that say nothing else. hostname: a template."""

    hostname: str | None = None
    dns_suffix: str | None = None
    credential_scope: _Scope | None = None


class _Service(msgspec.Struct, frozen=True):
    defaults: _Endpoint = _Endpoint()
    endpoints: dict[str, _Endpoint] = {}


class _Services(msgspec.Struct, frozen=True):
    sts: _Service = _Service()
    states: _Service = _Service()


class _Partition(msgspec.Struct, frozen=True, rename="camel"):
    partition: str
    dns_suffix: str
    region_regex: str
    regions: dict[str, object]
    defaults: _Endpoint
    services: _Services

    def has(self, service: Service, region: str) -> bool:
        """Say whether the service answers there; never for pseudo Regions, such as aws-global: they are signed for another."""
        endpoints = self._of(service).endpoints
        known = region in endpoints or region in self.regions or re.fullmatch(self.region_regex, region)
        scopes = (one.credential_scope.region for one in self._said(service, region) if one.credential_scope)
        return bool(known) and next(scopes, None) in {None, region}

    def host(self, service: Service, region: str) -> str:
        """Return the name of its host there."""
        said = tuple(self._said(service, region))
        template = next(one.hostname for one in said if one.hostname)
        suffix = next((one.dns_suffix for one in said if one.dns_suffix), self.dns_suffix)
        return template.format(service=service, region=region, dnsSuffix=suffix)

    def _said(self, service: Service, region: str) -> Iterator[_Endpoint]:
        """Yield what holds there, what wins first."""
        of = self._of(service)
        yield of.endpoints.get(region, _Endpoint())
        yield of.defaults
        yield self.defaults

    def _of(self, service: Service) -> _Service:
        return self.services.sts if service == "sts" else self.services.states


class _Table(msgspec.Struct, frozen=True):
    partitions: tuple[_Partition, ...]
