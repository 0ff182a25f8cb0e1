"""Random streams, one for each name, so that no draw depends on the order of the others."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from causalkit.errors import CausalkitError


def stream(random_seed: int | None, name: str) -> np.random.Generator:
    """Return the random generator that belongs to a seed and a name.

    Parameters
    ----------
    random_seed : int or None
        A seed of zero or more; None draws fresh entropy from the operating system.
    name : str
        What is drawn, for example the name of a node.

    Returns
    -------
    numpy.random.Generator
        The same generator for the same seed and name, on every machine; no global state is touched.

    Raises
    ------
    CausalkitError
        If the seed is anything else (``.random_seed``).

    Examples
    --------
    >>> stream(7, "x").integers(100) == stream(7, "x").integers(100)
    np.True_
    """
    # 16 bytes, because two names with the same short checksum would draw identical columns.
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big")
    try:
        sequence = np.random.SeedSequence(random_seed, spawn_key=(key,))
    except (TypeError, ValueError) as error:
        raise CausalkitError(
            f"random_seed is {random_seed!r}; write a whole number of zero or more, or None",
            random_seed=random_seed,
        ) from error
    return np.random.default_rng(sequence)
