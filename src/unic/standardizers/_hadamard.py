"""Hadamard matrices: entries ±1, rows orthogonal. Made by the constructions of Sylvester and Paley.

Sylvester doubles the order. Paley's need a prime q: of order q + 1 where q ≡ 3 (mod 4), of order 2·(q + 1) where
q ≡ 1 (mod 4). Together they give the widths of the usual encoders: 384 = 2⁵·12, 1152 = 2⁵·36, 1280 = 2⁶·20, …
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def hadamard(order: int) -> Float[np.ndarray, "n n"] | None:
    """A Hadamard matrix; None where these constructions give none."""
    doublings = (order & -order).bit_length() - 1
    for power in range(doublings, -1, -1):
        base = _paley(order >> power)
        if base is not None:
            return np.kron(_sylvester(power), base)
    return None


def _sylvester(power: int) -> Float[np.ndarray, "n n"]:
    matrix: Float[np.ndarray, "n n"] = np.ones((1, 1))
    for _ in range(power):
        matrix = np.kron([[1, 1], [1, -1]], matrix)
    return matrix


def _paley(order: int) -> Float[np.ndarray, "n n"] | None:
    if order == 1:
        return np.ones((1, 1))
    if _is_prime(order - 1) and order % 4 == 0:
        first: Float[np.ndarray, "n n"] = np.eye(order) + _bordered(order - 1, below=-1)
        return first
    half = order // 2
    if order % 4 == 0 and _is_prime(half - 1) and half % 4 == 2:
        conference = _bordered(half - 1, below=1)
        second: Float[np.ndarray, "n n"]
        second = np.kron(conference, [[1, 1], [1, -1]]) + np.kron(np.eye(half), [[1, -1], [-1, -1]])
        return second
    return None


def _bordered(q: int, *, below: int) -> Float[np.ndarray, "n n"]:
    """χ(i − j), with χ(k) = 1 for a square mod q, −1 for any other k ≠ 0, below a row of ones."""
    squares = {number * number % q for number in range(1, q)}
    character = np.array([0, *(1 if number in squares else -1 for number in range(1, q))])
    inner = character[np.subtract.outer(np.arange(q), np.arange(q)) % q]
    return np.block([[np.zeros((1, 1)), np.ones((1, q))], [np.full((q, 1), below), inner]])


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
