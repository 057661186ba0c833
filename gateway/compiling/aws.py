"""Where AWS answers, and which Regions belong together."""

from typing import Final

from gateway.arn import ArnInvalid, RoleArn, parse_role
from gateway.compiling.keys import url_fault
from gateway.compiling.report import Report, Spot
from gateway.files.schema.gateway import GatewayShape
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, show
from gateway.policy.snapshot import AwsEndpoints

# A Region's prefix says to which partition it belongs; all others are `aws`.
_PARTITIONS: Final = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
)


def region_partition(region: str) -> str:
    """Return the partition that a Region belongs to."""
    return next((partition for prefix, partition in _PARTITIONS if region.startswith(prefix)), "aws")


def compile_role_arn(text: str, spot: Spot) -> RoleArn | None:
    """Return the IAM role that is written; None after a finding."""
    try:
        return parse_role(text)
    except ArnInvalid as error:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{show(text)} is no role: {error}.",
            "Write the complete ARN; there are no patterns and no templates.",
        )
        return None


def compile_endpoints(gateway: Shaped[GatewayShape], report: Report, *, dev: bool) -> AwsEndpoints | None:
    """Return where AWS answers; None when gateway.yaml cannot be used."""
    if gateway.shape is None:
        return None
    aws = gateway.shape.aws
    spot = Spot(gateway.document, ("aws",), report)
    for region, endpoints in (aws.endpoints or {}).items():
        for name, url in (("sts", endpoints.sts), ("states", endpoints.states)):
            if url is not None:
                _judge_endpoint(url, spot / "endpoints" / region / name, dev=dev)
    if aws.emulator and not dev:
        (spot / "emulator").error(
            FindingCode.DEV_ONLY,
            "emulator: true leaves two checks of STS's answers out; it is accepted only with --dev.",
            "Remove it.",
        )
    given = (aws.endpoints or {}).items()
    return AwsEndpoints(
        region=aws.region,
        sts={region: one.sts for region, one in given if one.sts is not None},
        states={region: one.states for region, one in given if one.states is not None},
        emulator=aws.emulator,
    )


def _judge_endpoint(url: str, spot: Spot, *, dev: bool) -> None:
    fault = url_fault(url, of_issuer=True)
    if fault is not None:
        spot.error(FindingCode.VALUE_INVALID, f"{show(url)} {fault}.", "Write it as https://HOST.")
    elif url.startswith("http://") and not dev:
        spot.error(
            FindingCode.DEV_ONLY,
            f"{show(url)} is not encrypted; http is accepted for loopback addresses and only with --dev.",
            "Write https://.",
        )
