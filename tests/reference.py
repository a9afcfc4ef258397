"""Slow, obvious oracles for everything fast: loops and textbook formulas, no sharing of code with the package."""

import math

import numpy as np


def warp(v, lowest, highest, w):
    """Scaled Box-Cox of a level, straight from its definition."""
    if w == 0:
        return math.log(v / lowest) / math.log(highest / lowest)
    return ((v / lowest) ** w - 1) / ((highest / lowest) ** w - 1)


def correlation(s, family):
    r = math.sqrt(s)
    if family == "matern52":
        return (1 + math.sqrt(5) * r + 5 * s / 3) * math.exp(-math.sqrt(5) * r)
    if family == "matern32":
        return (1 + math.sqrt(3) * r) * math.exp(-math.sqrt(3) * r)
    return math.exp(-s / 2)


def covariance(a, b, kinds, lengthscales, signal_variance, trend_variance, form, family):
    """Prior covariance of two points given as coordinates (numbers) or category codes, per knob."""
    product, s, linear = 1.0, 0.0, 0.0
    for x, y, kind, scale in zip(a, b, kinds, lengthscales, strict=True):
        if kind == "category":
            part = 0.0 if x == y else 1 / scale**2
            product *= 1.0 if x == y else math.exp(-1 / scale)
        else:
            part = (x - y) ** 2 / scale**2
            product *= correlation(part, family)
            linear += (x - 0.5) * (y - 0.5)
        s += part
    k = product if form == "product" else correlation(s, family)
    return signal_variance * k + 1.0 + trend_variance * linear


def gram(points_a, points_b, **kwargs):
    return np.array([[covariance(a, b, **kwargs) for b in points_b] for a in points_a])


def posterior(points, y, noise, new_points, **kwargs):
    """Mean and variance by numpy's general solver."""
    K = gram(points, points, **kwargs) + np.diag(noise)
    k = gram(points, new_points, **kwargs)
    mean = k.T @ np.linalg.solve(K, y)
    variance = np.diag(gram(new_points, new_points, **kwargs)) - np.einsum("ij,ij->j", k, np.linalg.solve(K, k))
    return mean, variance


def log_marginal_likelihood(points, y, noise, **kwargs):
    K = gram(points, points, **kwargs) + np.diag(noise)
    sign, logdet = np.linalg.slogdet(K)
    assert sign > 0
    return -0.5 * y @ np.linalg.solve(K, y) - 0.5 * logdet
