"""The controller's clock in terms of this computer's, with a bound that is proved and not assumed.

A STATUS question and its answer carry four stamps: sent (host), received and answered (controller), come (host). What
the controller stamped lies between what the host stamped, so host minus controller lies in an interval as wide as the
round trip less the time that the controller took. Its middle is the sample, half of it the bound: which way was slower
cannot be seen from a round trip, and the bound is where that goes.

Between samples the two clocks drift apart. The rate is a regression over the samples kept, held within what two of
their intervals prove; before they prove anything it is that of an untrimmed resonator. A sample that is wider than what
is known anyhow is an outlier and adds nothing. One that contradicts what is known means that the controller's clock did
not run evenly (it restarted, or its time is virtual), and all begins anew with it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WRAP_US = 2**32
#: Two clocks without any knowledge of them: a ceramic resonator, as on an Uno, is half a per cent off.
UNKNOWN_RATE = 0.01
#: A rate that was proved holds so well later on: crystals follow the temperature.
WANDER = 20e-6
#: Samples kept, and how old one gets, in microseconds.
KEPT = 64
OLDEST_US = 300e6
#: Samples closer together than this say little of the rate.
_RATE_SPAN_US = 0.2e6
#: One so soon after another says nothing, unless it is narrower: of a thousand a second, a few serve.
_SOON_US = 0.02e6
#: Stamps are whole microseconds, on both sides.
_RESOLUTION_US = 1.0


@dataclass(frozen=True)
class HostTime:
    """A moment of the controller's, by this computer's time.monotonic(): microseconds, give or take `bound_us`."""

    host_us: float
    bound_us: float


@dataclass(frozen=True)
class _Sample:
    """`offset_us` is controller minus host at `host_us`, known to `half_us`."""

    host_us: float
    offset_us: float
    half_us: float


class ControllerClock:
    """What is known of one controller's clock. All times are microseconds; its stamps are 32 bits and wrap.

    Attributes:
        taken: samples that said something.
        outliers: samples dropped: their round trip was long, or no shorter than one just before.
        restarts: how often the clock turned out not to have run evenly, a restart of the controller not counted.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.outliers = 0
        self.restarts = 0
        self._samples: deque[_Sample] = deque(maxlen=KEPT)
        self._anchor: _Sample | None = None  # the one that knew best when the last one was taken
        self._rate = 0.0
        self._rate_bound = UNKNOWN_RATE

    @property
    def known(self) -> bool:
        return bool(self._samples)

    @property
    def rate_ppm(self) -> float:
        """By how much the controller's clock is faster than this computer's."""
        return 1e6 * self._rate

    @property
    def rate_bound_ppm(self) -> float:
        return 1e6 * self._rate_bound

    def forget(self) -> None:
        """The controller has started anew: nothing that was known holds."""
        self._samples.clear()
        self._anchor = None
        self._rate, self._rate_bound = 0.0, UNKNOWN_RATE

    def sample(self, sent_us: float, received_us: int, answered_us: int, come_us: float) -> None:
        """Four stamps: host, controller (32 bits), controller (32 bits), host."""
        held = (answered_us - received_us) % WRAP_US
        half = (come_us - sent_us - held) / 2 + _RESOLUTION_US
        if half <= 0:
            self._begin_anew()  # an answer that took longer than the whole way: its time is not ours
            return
        middle = (sent_us + come_us) / 2
        offset = self._unwrap(answered_us, middle) - held / 2 - middle
        new = _Sample(middle, offset, half)
        if self._anchor is not None:
            expected, bound = self._by_way_of(self._anchor, middle)
            if abs(offset - expected) > half + bound:
                self._begin_anew()
            elif half > bound or (half >= (newest := self._samples[-1]).half_us and middle - newest.host_us < _SOON_US):
                self.outliers += 1
                return
        self._samples.append(new)
        self.taken += 1
        while middle - self._samples[0].host_us > OLDEST_US:
            self._samples.popleft()
        self._fit()
        if self._samples:
            self._anchor = self._best_at(middle)

    def host_time(self, stamp_us: int, near_us: float) -> HostTime | None:
        """The host's time of a controller's stamp of about `near_us` (within half an hour); None while unknown."""
        if not self._samples:
            return None
        host = near_us
        stamp = _next_to(near_us + self._offset_at(near_us)[0], stamp_us)
        for _ in range(2):  # the offset is that of the moment looked for; the second turn is good to nanoseconds
            host = stamp - self._offset_at(host)[0]
        return HostTime(host, self._offset_at(host)[1])

    def offset(self, host_us: float) -> tuple[float, float] | None:
        """Controller minus host, modulo 2^32, and its bound, at a time of the host's; None while unknown."""
        return self._offset_at(host_us) if self._samples else None

    def facts(self, host_us: float) -> dict[str, float | int | None]:
        """What is known at a time of the host's, as numbers for a person or a script; None where nothing is."""
        offset = self.offset(host_us)
        return {
            "clock_offset_us": None if offset is None else round(offset[0], 1),
            "clock_bound_us": None if offset is None else round(offset[1], 1),
            "clock_rate_ppm": round(self.rate_ppm, 1),
            "clock_rate_bound_ppm": round(self.rate_bound_ppm, 1),
            "clock_samples": self.taken,
            "clock_outliers": self.outliers,
            "clock_restarts": self.restarts,
        }

    def _begin_anew(self) -> None:
        self.restarts += 1
        self.forget()

    def _unwrap(self, stamp_us: int, host_us: float) -> float:
        """A stamp without its wraps, next to what is expected at `host_us`."""
        if self._anchor is None:
            return float(stamp_us)
        return _next_to(host_us + self._by_way_of(self._anchor, host_us)[0], stamp_us)

    def _best_at(self, host_us: float) -> _Sample:
        return min(self._samples, key=lambda s: s.half_us + abs(host_us - s.host_us) * self._rate_bound)

    def _by_way_of(self, sample: _Sample, host_us: float) -> tuple[float, float]:
        """Offset and bound that follow from one sample; all samples are right, some say more."""
        away = host_us - sample.host_us
        return sample.offset_us + self._rate * away, sample.half_us + abs(away) * self._rate_bound

    def _offset_at(self, host_us: float) -> tuple[float, float]:
        return self._by_way_of(self._best_at(host_us), host_us)

    def _fit(self) -> None:
        """The rate: regression, weighted by the bounds, within what pairs of samples prove."""
        low, high = -UNKNOWN_RATE, UNKNOWN_RATE
        newest = self._samples[-1]
        for old in self._samples:
            span = newest.host_us - old.host_us
            if span >= _RATE_SPAN_US:
                slope, slack = (newest.offset_us - old.offset_us) / span, (newest.half_us + old.half_us) / span + WANDER
                low, high = max(low, slope - slack), min(high, slope + slack)
        if low > high:  # no even clock gives these
            self._begin_anew()
            self._samples.append(newest)
            return
        weights = [1.0 / s.half_us**2 for s in self._samples]
        total = sum(weights)
        mean_t = sum(w * s.host_us for w, s in zip(weights, self._samples, strict=True)) / total
        mean_o = sum(w * s.offset_us for w, s in zip(weights, self._samples, strict=True)) / total
        spread = sum(w * (s.host_us - mean_t) ** 2 for w, s in zip(weights, self._samples, strict=True))
        pulls = (w * (s.host_us - mean_t) * (s.offset_us - mean_o) for w, s in zip(weights, self._samples, strict=True))
        rate = sum(pulls) / spread if spread > total * (_RATE_SPAN_US / 4) ** 2 else 0.0
        self._rate = min(max(rate, low), high)
        self._rate_bound = max(high - self._rate, self._rate - low, WANDER)


def _next_to(expected: float, stamp_us: int) -> float:
    """The time nearest to `expected` whose 32 bits are the stamp's."""
    base = math.floor(expected)
    return float(base + (stamp_us - base + WRAP_US // 2) % WRAP_US - WRAP_US // 2)
