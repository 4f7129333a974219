"""Word vectors that others have trained."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np


def read_vectors(path: pathlib.Path, vocabulary: Sequence[str]) -> np.ndarray:
    """Rows of a GloVe text or word2vec binary file for the words of a vocabulary; zeros where the file has none.

    Raises:
        ValueError: a line of another width, or a file cut short; the message names the line or word.
    """
    index = {word: i for i, word in enumerate(vocabulary)}
    binary = path.suffix == ".bin"
    rows = _binary_rows(path) if binary else _text_rows(path)
    table: np.ndarray | None = None
    for place, word, vector in rows:
        if table is None:
            table = np.zeros((len(vocabulary), len(vector)), np.float32)
        if len(vector) != table.shape[1]:
            raise ValueError(f"{path.name}, {place}: {len(vector)} numbers where earlier ones have {table.shape[1]}")
        if word in index:
            table[index[word]] = vector
    if table is None:
        raise ValueError(f"{path.name}: no vectors in it")
    return table


def _text_rows(path: pathlib.Path) -> Iterable[tuple[str, str, np.ndarray]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            word, *values = line.rstrip("\n").split(" ")
            if number == 1 and len(values) == 1:  # word2vec's text form begins with its size
                continue
            try:
                yield f"line {number}", word, np.asarray(values, np.float32)
            except ValueError:
                raise ValueError(f"{path.name}, line {number}: not a word and numbers") from None


def _binary_rows(path: pathlib.Path) -> Iterable[tuple[str, str, np.ndarray]]:
    with path.open("rb") as file:
        count, width = map(int, file.readline().split())
        for number in range(1, count + 1):
            word = bytearray()
            while (char := file.read(1)) not in (b" ", b""):
                word += char if char != b"\n" else b""
            raw = file.read(4 * width)
            if len(raw) < 4 * width:
                raise ValueError(f"{path.name}, word {number} of {count}: the file ends here; copy it again")
            yield f"word {number}", word.decode("utf-8", "replace"), np.frombuffer(raw, np.float32)
