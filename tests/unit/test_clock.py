"""The controller's clock: the bound always holds, and gets narrow; wraps, outliers and restarts."""

import random

import pytest

from esmaml_robot.bridge.clock import UNKNOWN_RATE, WRAP_US, ControllerClock


class Controller:
    """A clock that is a little fast, behind a line whose two directions take different times."""

    def __init__(self, seed, rate=1.0, start_us=0.0, shortest_us=100.0):
        self.rng, self.rate, self.start_us, self.shortest_us = random.Random(seed), rate, start_us, shortest_us
        self.now = 1e9  # host, true

    def true_stamp(self, host_us):
        return self.start_us + self.rate * (host_us - 1e9)

    def stamp(self, host_us):
        return int(self.true_stamp(host_us)) % WRAP_US

    def ask(self, clock, slow=0.0, held=20.0):
        """One round trip; most are quick, one way or the other is up to `slow` longer."""
        there, back = (self.shortest_us + self.rng.expovariate(1 / 30) for _ in range(2))
        if self.rng.random() < 0.5:
            there += slow
        else:
            back += slow
        received = self.now + there
        answered = received + held
        come = answered + back
        clock.sample(float(int(self.now)), self.stamp(received), self.stamp(answered), float(int(come) + 1))
        self.now = come

    def error_and_bound(self, clock, host_us, near_us=None):
        found = clock.host_time(self.stamp(host_us), host_us if near_us is None else near_us)
        return abs(found.host_us - host_us), found.bound_us


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [1.0, 1 + 80e-6, 1 - 80e-6, 1.005])
def test_the_bound_holds_at_any_moment_and_gets_narrow(seed, rate):
    far = Controller(seed, rate, start_us=random.Random(seed).uniform(0, WRAP_US))
    clock = ControllerClock()
    for _ in range(8):
        far.ask(clock)
    assert clock.rate_bound_ppm <= 1e6 * UNKNOWN_RATE
    for _ in range(120):
        far.now += 1e6
        before = far.now
        far.ask(clock, slow=far.rng.choice((0.0, 0.0, 500.0, 20_000.0)))
        for at in (before, before - 4e5, before + 3e6):  # also what lies between samples, and what is to come
            error, bound = far.error_and_bound(clock, at)
            assert error <= bound
    assert clock.restarts == 0
    assert clock.outliers > 20
    error, bound = far.error_and_bound(clock, far.now)
    assert bound < 400
    assert abs(clock.rate_ppm - 1e6 * (rate - 1)) <= clock.rate_bound_ppm < 60


def test_stamps_that_wrap_stay_in_order():
    far = Controller(1, 1 + 30e-6, start_us=WRAP_US - 5e6)
    clock = ControllerClock()
    for _ in range(20):
        far.now += 1e6
        far.ask(clock)
    assert far.true_stamp(far.now) > WRAP_US
    assert clock.restarts == 0
    for ago in (0.0, 14e6):  # behind the wrap and before it
        error, bound = far.error_and_bound(clock, far.now - ago, near_us=far.now)
        assert error <= bound < 600


def test_days_without_a_sample_do_not_lose_count_of_the_wraps():
    far = Controller(2, 1.004)
    clock = ControllerClock()
    for _ in range(30):
        far.now += 1e6
        far.ask(clock)
    far.now += 2 * 24 * 3600e6  # forty wraps
    far.ask(clock)
    error, bound = far.error_and_bound(clock, far.now)
    assert clock.restarts == 0
    assert error <= bound < 400


def test_one_slow_round_trip_is_dropped_and_changes_nothing():
    far, clock = Controller(3), ControllerClock()
    for _ in range(30):
        far.now += 1e5
        far.ask(clock)
    before = clock.host_time(far.stamp(far.now), far.now)
    taken, outliers, at = clock.taken, clock.outliers, far.now
    far.ask(clock, slow=50_000.0)
    assert (clock.taken, clock.outliers) == (taken, outliers + 1)
    assert clock.host_time(far.stamp(at), at) == before


@pytest.mark.parametrize("seed", range(5))
def test_questions_in_a_burst_leave_room_for_samples_that_tell_of_the_rate(seed):
    far, clock = Controller(seed, 1 + 200e-6), ControllerClock()
    for _ in range(20_000):
        far.ask(clock)
    assert far.now > 1.5e6
    error, bound = far.error_and_bound(clock, far.now)
    assert error <= bound < 200
    assert abs(clock.rate_ppm - 200) <= clock.rate_bound_ppm < 500, "without room it stays at 10,000"
    assert clock.taken < far.now / 10_000


def test_a_controller_that_started_anew_is_noticed_without_being_told():
    far, clock = Controller(4), ControllerClock()
    for _ in range(10):
        far.now += 1e6
        far.ask(clock)
    far.start_us -= 3e6  # its clock began at zero again
    far.ask(clock)
    assert clock.restarts == 1
    error, bound = far.error_and_bound(clock, far.now)
    assert error <= bound < 400
    assert clock.rate_bound_ppm == pytest.approx(1e6 * UNKNOWN_RATE)


def test_told_of_a_restart_it_knows_nothing():
    far, clock = Controller(5), ControllerClock()
    far.ask(clock)
    assert clock.known
    clock.forget()
    assert not clock.known
    assert clock.host_time(5, far.now) is None
    assert clock.offset(far.now) is None
    assert clock.facts(far.now)["clock_bound_us"] is None
    assert clock.restarts == 0


def test_time_that_does_not_run_evenly_begins_anew_each_time():
    far, clock = Controller(6), ControllerClock()
    for _ in range(10):
        far.now += 1e6
        far.start_us += 2e5  # virtual time, ahead of real time in jumps
        far.ask(clock)
    assert clock.restarts >= 8


@pytest.mark.parametrize("held_us", [500_000, 1002])  # 1002: by as much as the stamps' resolution explains, no more
def test_an_answer_that_took_longer_than_the_way_there_and_back(held_us):
    clock = ControllerClock()
    clock.sample(1000.0, 0, held_us, 2000.0)
    assert not clock.known
    assert clock.restarts == 1
