"""Rows of codes as streams of bits, the lowest bit of the lowest byte first."""

import numpy as np


def from_stream(bytes_NB: np.ndarray, bits: int) -> np.ndarray:
    """Codes from 0, uint8, of rows of bytes; as many as the bytes hold whole.

    Shapes: [N, B] -> [N, 8 B / bits], rounded down.
    """
    rows = len(bytes_NB)
    if bits == 8:
        return bytes_NB
    if bits in (2, 4):
        shift = np.arange(0, 8, bits, dtype=np.uint8)
        return ((bytes_NB[..., None] >> shift) & np.uint8(2**bits - 1)).reshape(rows, -1)
    single = np.unpackbits(bytes_NB, axis=1, bitorder="little")
    single = single[:, : single.shape[1] // bits * bits].reshape(rows, -1, bits)
    return (single << np.arange(bits, dtype=np.uint8)).sum(axis=-1, dtype=np.uint8)


def to_stream(code_ND: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of codes from 0 (uint8); the last one is filled up with zero bits.

    Shapes: [N, D] -> [N, D bits / 8], rounded up.
    """
    single = (code_ND[..., None] >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    return np.packbits(single.reshape(len(code_ND), -1), axis=1, bitorder="little")
