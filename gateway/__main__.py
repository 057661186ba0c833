"""`python -m gateway` is the command `oidc-gateway`."""

import signal
import sys

if __name__ == "__main__":
    # Until `main` can catch it, Ctrl-C ends this program as it ends any other: at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.cli.main import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
