"""How is it said in HTTP: routes, bodies in, problems out."""
