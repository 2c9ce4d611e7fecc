"""Writes tests/fixtures/truncated_normal.csv: quantiles of truncated standard normals, solved with mpmath (400 digits).

Run with Python 3 and mpmath from the repository root. Columns: u, lo, hi (exact doubles) and the quantile x.
"""

import itertools

from mpmath import erfc, exp, inf, log, mp, mpf, pi, sqrt

mp.dps = 400

INTERVALS = [
    (-inf, inf), (-1.0, 1.0), (-1.0, 2.5), (-3.0, 0.5), (0.0, inf), (-inf, 0.0), (0.3, 60.0), (-60.0, 0.3),
    (-20.0, 20.0), (5.0, 6.0), (-6.0, -5.0), (5.0, inf), (-8.0, 300.0), (12.0, 12.1), (29.9, 31.0), (30.1, 31.0),
    (36.0, inf), (38.0, 39.0), (40.0, 41.0), (40.0, inf), (-41.0, -40.0), (-inf, -40.0), (40.0, 40.01),
    (40.0, 40.0 + 1e-9), (1000.0, 1000.5), (1e8, inf), (-5e-10, 5e-10), (-1e-9, 0.0), (0.0, 1e-9), (0.25, 0.25 + 1e-9),
    (-1e-3, 2e-3), (0.0, 0.0099), (-0.0099, 0.0), (0.0, 0.0101), (3.0, 3.009), (3.0, 3.011), (-0.2, 0.1),
    (-1e300, 0.5), (-1e300, 1e300),
]  # fmt: skip
SHARES = [1e-300, 2.0**-33, 1e-3, 0.2, 0.5, 0.7, 0.999, 1 - 2.0**-33]


def tail(x):
    if x == inf or x > mpf("1e290"):
        return mpf(0)
    if x == -inf or x < -mpf("1e290"):
        return mpf(1)
    return erfc(x / sqrt(2)) / 2


def quantile(u, lo, hi):
    """Bisection, then Newton's method on ln Q, for an interval with lo + hi >= 0; otherwise mirrored."""
    u, lo, hi = mpf(u), mpf(lo), mpf(hi)
    if lo + hi < 0:
        return -quantile(1 - u, -hi, -lo)
    target = (1 - u) * tail(lo) + u * tail(hi)
    a, b = max(lo, mpf(-60)), hi
    if b > max(a, 0) + 60:
        b = max(a, mpf(0)) + 60
    for _ in range(60):
        middle = (a + b) / 2
        a, b = (middle, b) if tail(middle) > target else (a, middle)
    x = (a + b) / 2
    for _ in range(8):
        q = tail(x)
        x += (q - target) / (exp(-x * x / 2) / sqrt(2 * pi))
    assert abs(log(tail(x) / target)) < mpf(10) ** -25, (u, lo, hi, x)
    return x


with open("tests/fixtures/truncated_normal.csv", "w") as out:
    out.write("u,lo,hi,x\n")
    for (lo, hi), u in itertools.product(INTERVALS, SHARES):
        out.write(f"{u!r},{float(lo)!r},{float(hi)!r},{mp.nstr(quantile(u, lo, hi), 22)}\n")
