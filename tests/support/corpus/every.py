"""All samples together."""

from tests.support.corpus import claims, headers, shapes
from tests.support.corpus.making import Maker, Sample

_PARTS = (
    shapes.good,
    shapes.shape,
    shapes.encoding,
    shapes.json_texts,
    headers.header,
    headers.algorithm,
    headers.key,
    headers.signature,
    claims.issuer,
    claims.audience,
    claims.time,
    claims.subject_and_kind,
)


def corpus(now: int) -> tuple[Sample, ...]:
    """Return all samples, made for this moment: another judge of them reads the machine's clock."""
    make = Maker(now=now)
    return tuple(
        Sample(name=name, token=token, code=code) for part in _PARTS for name, token, code in part(make)
    )
