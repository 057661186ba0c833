"""Where do connections end: sockets, who may open one, bytes to requests, and how serving stops."""
