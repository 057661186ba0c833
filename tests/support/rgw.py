"""Starts Ceph's object gateway, whose STS verifies web identity tokens: signature, expiry, issuer, audience, trust and session policies.

One monitor, one store in memory and one gateway, on loopback. It shares no code with us and knows S3 in place of Step
Functions. What is particular about it: the key set has to carry `x5c`, policies no blanks, and an account is a tenant.
"""

import hashlib
import json
import shlex
import shutil
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

from gateway.dev.children import LOOPBACK, Server, free_port, running
from tests.support.boto import ACCOUNT, Keys, client

HOW_TO_GET_ONE: Final = (
    "Ceph's radosgw is not installed; run apt-get install --no-install-recommends "
    "radosgw ceph-mon ceph-osd ceph-common, or scripts/components as root"
)
_PROGRAMS: Final = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool")
_ADMIN: Final = Keys(key_id="admin", secret="not-a-secret")

_CONFIGURATION = """\
[global]
fsid = {cluster}
mon host = [v1:{loopback}:{monitor}]
auth cluster required = none
auth service required = none
auth client required = none
keyring = /dev/null
public addr = {loopback}
cluster addr = {loopback}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
paxos propose interval = 0.1
admin socket =
log file =
log to stderr = true
mon cluster log to file = false
debug rocksdb = 0

[mon.a]
mon data = {folder}/monitor

[osd.0]
osd data = {folder}/store
osd objectstore = memstore
memstore device bytes = 268435456

[client.rgw]
rgw frontends = beast endpoint={loopback}:{port}
rgw enable apis = s3, sts, iam
rgw s3 auth use sts = true
rgw sts key = sixteen-letters-
rgw thread pool size = 16
"""

# The options at the end are said again on the command line, because the programs of the gateway override them in the file.
_START = """\
export CEPH_CONF={folder}/ceph.conf
client='--name client.rgw --auth_client_required=none --ms_mon_client_mode=crc'
mkdir {folder}/monitor {folder}/store
monmaptool --create --fsid {cluster} --addv a '[v1:{loopback}:{monitor}]' {folder}/monmap
ceph-mon --mkfs -i a --monmap {folder}/monmap
ceph-mon -f -i a &
ceph --auth_client_required=none osd new {store}
ceph-osd -i 0 --mkfs --osd-uuid {store}
ceph-osd -f -i 0 &
radosgw-admin $client user create --tenant={account} --uid=admin --display-name=admin \\
    --access-key={key_id} --secret={secret} --caps='roles=*;oidc-provider=*;user-policy=*'
radosgw -f $client &
wait
"""


def find_rgw() -> str | None:
    """Return the path of radosgw, None unless all of Ceph's programs that it takes are there."""
    found = [shutil.which(name) for name in _PROGRAMS]
    return found[0] if all(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """An issuer's key as RGW wants it published: with a certificate, whose SHA-1 the identity provider in IAM names."""

    private: rsa.RSAPrivateKey
    certificate: bytes
    key_id: str

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a key and a certificate of it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now, day = datetime.now(UTC), timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .sign(key, hashes.SHA256())
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        return cls(private=key, certificate=der, key_id=uuid.uuid4().hex)

    def private_jwk(self) -> Mapping[str, object]:
        """Return the JWK that an issuer signs with and publishes the public half of."""
        made: dict[str, object] = RSAAlgorithm.to_jwk(self.private, as_dict=True)
        made.pop("key_ops", None)
        certificates = [b64encode(self.certificate).decode()]
        return made | {"kid": self.key_id, "use": "sig", "alg": "RS256", "x5c": certificates}

    def thumbprint(self) -> str:
        """Return what IAM calls the certificate."""
        return hashlib.sha1(self.certificate, usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rgw:
    """A running gateway of Ceph. url: of its S3, IAM and STS. account: the id in the ARNs of its roles."""

    url: str
    account: str = ACCOUNT

    def trust(self, issuer: str, *, audience: str, key: SigningKey) -> None:
        """Make an issuer known to IAM, as the identity provider of an account."""
        client("iam", self.url, _ADMIN).create_open_id_connect_provider(
            Url=issuer, ClientIDList=[audience], ThumbprintList=[key.thumbprint()]
        )

    def create_role(self, issuer: str, *, may: Sequence[str] = (), **conditions: str) -> str:
        """Make a role for tokens of this issuer with these claims, which may do this to every bucket; return its ARN."""
        host = issuer.split("://", 1)[1]
        statement: Mapping[str, object] = {
            "Effect": "Allow",
            "Principal": {"Federated": [f"arn:aws:iam::{self.account}:oidc-provider/{host}"]},
            "Action": ["sts:AssumeRoleWithWebIdentity"],
            "Condition": {
                "StringEquals": {f"{host}:{claim}": wanted for claim, wanted in conditions.items()}
            },
        }
        iam, name = client("iam", self.url, _ADMIN), f"role-{uuid.uuid4().hex[:8]}"
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(statement))
        if may:
            allow = {"Effect": "Allow", "Action": list(may), "Resource": ["arn:aws:s3:::*"]}
            iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=_policy(allow))
        return str(role["Role"]["Arn"])

    def create_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        self.s3(_ADMIN).create_bucket(Bucket=name)
        return name

    def s3(self, keys: Keys) -> Any:
        """Return boto3's client of its S3, under these credentials."""
        return client("s3", self.url, keys)


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


@contextmanager
def running_rgw() -> Iterator[Rgw]:
    """Yield one that knows nothing yet; it is up in a few seconds and ends with the block. Raises ChildFailed."""

    def command(port: int, scratch: Path) -> Sequence[str]:
        values = {
            "folder": shlex.quote(str(scratch)),
            "loopback": LOOPBACK,
            "monitor": free_port(),
            "port": port,
            "cluster": uuid.uuid4(),
            "store": uuid.uuid4(),
            "account": ACCOUNT,
            "key_id": _ADMIN.key_id,
            "secret": _ADMIN.secret,
        }
        (scratch / "ceph.conf").write_text(_CONFIGURATION.format(**values))
        return ["/bin/sh", "-euc", _START.format(**values)]

    # Nobody may read the list of all buckets, and it is answered, empty, to anybody.
    with running(Server(name="rgw", command=command, environment=lambda _: {}, health="/")) as port:
        yield Rgw(url=f"http://{LOOPBACK}:{port}")
