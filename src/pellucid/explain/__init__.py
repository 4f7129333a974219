"""Why a model said so: every method and every check is a function of a `Probe`."""
