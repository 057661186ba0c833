"""The command `oidc-gateway`, which says in the end which modules it has loaded: `modules: [...]` on stderr."""

import json
import sys

from gateway.cli.main import main

if __name__ == "__main__":
    code = main()
    sys.stderr.write(f"modules: {json.dumps(sorted(sys.modules))}\n")
    sys.exit(code)
