"""Where AWS answers, by service and Region, from botocore's endpoint data; nothing of the environment has a say."""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, cast

from botocore.loaders import Loader
from botocore.regions import EndpointResolver

Service = Literal["sts", "states"]


class RegionUnknown(ValueError):
    """No partition of AWS has a Region of that name."""


class AwsEndpointData:
    """botocore's table of partitions, Regions and host names, read once."""

    def load(self) -> None:
        """Read the table now (about 30 ms), so that no caller waits for it; otherwise the first use does."""
        _ = self._resolver

    def url(self, service: Service, region: str, *, overrides: Mapping[str, str], prefix: str = "") -> str:
        """Return the base URL, with its closing slash; raises RegionUnknown.

        overrides: base URL per Region that replaces AWS's own; it never gets the prefix.
        prefix:    put before AWS's host name, such as `sync-`.
        """
        override = overrides.get(region)
        if override is not None:
            return override.rstrip("/") + "/"
        found = self._resolver.construct_endpoint(service, region)
        # Pseudo Regions such as aws-global are signed for another Region.
        if not found or found.get("credentialScope", {}).get("region", region) != region:
            raise RegionUnknown(f"no AWS partition has a Region {region!r}")
        return f"https://{prefix}{found['hostname']}/"

    def partition(self, region: str) -> str:
        """Return the partition of a Region, such as `aws-cn`; raises RegionUnknown."""
        found = self._resolver.construct_endpoint("sts", region)
        if not found:
            raise RegionUnknown(f"no AWS partition has a Region {region!r}")
        return cast(str, found["partition"])

    @cached_property
    def _resolver(self) -> EndpointResolver:
        # Without the default search paths: those include ~/.aws/models, where anybody's file would redirect us.
        loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
        return EndpointResolver(loader.load_data("endpoints"), uses_builtin_data=True)
