"""The checker of the import hook: as beartype's own, but an int will do where a float is asked for, as Python's typing says."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
