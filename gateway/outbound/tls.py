"""The one way our TLS contexts are made."""

import ssl


def client_context(ca_pem: str | None = None) -> ssl.SSLContext:
    """Return a context that verifies certificate and host name, TLS 1.2 or later; raises ssl.SSLError for a bad CA.

    ca_pem: the only CA that is trusted; None: the system's roots.
    """
    # Not `ssl.create_default_context`: it writes session secrets to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_pem is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=ca_pem)
    return context
