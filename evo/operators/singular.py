"""Adapters seen through their singular values, without ever forming delta W.

Owns the left singular vectors of `B A` and `reweighed`, by which operators keep, drop or scale singular components.
With `B A = U S V^T`, the update `U diag(c) S V^T` is `(U diag(c) U^T B) A`. Only B changes; A keeps its rows, and so
every direction stays open to training.
"""

import torch
from torch import Tensor


def left_singular(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors of `up @ down` and its singular values, the largest first, in double precision.

    From the QR decompositions of both factors and the SVD of a matrix of their rank.

    Args:
        up: [P, out, r] finite.
        down: [P, r, in] finite.

    Returns:
        vectors [P, out, q] and values [P, q], where q is the least of r, in and out.
    """
    basis, triangle = torch.linalg.qr(up.double())
    core = triangle @ torch.linalg.qr(down.double().mT).R.mT
    turn, values, _ = torch.linalg.svd(core, full_matrices=False)
    return basis @ turn, values


def reweighed(up: Tensor, vectors: Tensor, coefficients: Tensor) -> Tensor:
    """Return the B [P, out, r] with which each singular value is multiplied by its coefficient.

    Args:
        up: [P, out, r] as given to `left_singular`.
        vectors: [P, out, q] from there.
        coefficients: [P, q] any numbers.
    """
    scaled = vectors * coefficients.to(vectors.dtype)[:, None, :]
    return (scaled @ (vectors.mT @ up.to(vectors.dtype))).to(up.dtype)
