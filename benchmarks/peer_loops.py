"""Other frameworks on our Gymnasium environments; run by benchmarks/peers.py in an environment of their own.

    python -m benchmarks.peer_loops evotorch esmaml/FourCorners-v0 8     # hidden sizes follow; none: linear

Says "ready" once it has run a generation, then runs one for each line of standard input and answers with
environment steps and seconds of processor time.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence

POPULATION = 32
SIGMA = 0.1

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def evotorch(env_id: str, hidden: Sequence[int]) -> Callable[[], int]:
    """A generation of PGPE on GymNE, EvoTorch's own loop over a Gymnasium environment; returns environment steps."""
    import gymnasium
    import torch
    from evotorch.algorithms import PGPE
    from evotorch.neuroevolution import GymNE

    torch.set_num_threads(1)
    sizes = ["obs_length", *map(str, hidden), "act_length"]
    layers = [f"Linear({a}, {b})" for a, b in itertools.pairwise(sizes)]
    problem = GymNE(lambda: gymnasium.make(env_id, disable_env_checker=True), " >> Tanh() >> ".join(layers))
    searcher = PGPE(problem, popsize=POPULATION, center_learning_rate=0.01, stdev_learning_rate=0.1, stdev_init=SIGMA)
    done = 0

    def generation() -> int:
        nonlocal done
        searcher.step()
        before, done = done, int(problem.status["total_interaction_count"])
        return done - before

    return generation


def evosax(env_id: str, hidden: Sequence[int]) -> Callable[[], int]:
    """A generation of Open_ES over a plain loop of episodes, the policy in numpy; returns environment steps."""
    import gymnasium
    import jax
    import jax.numpy as jnp
    import numpy as np
    from evosax.algorithms import Open_ES

    env = gymnasium.make(env_id, disable_env_checker=True)
    sizes = [env.observation_space.shape[0], *hidden, env.action_space.shape[0]]  # type: ignore[index]
    shapes = list(itertools.pairwise(sizes))
    dimension = sum(a * b + b for a, b in shapes)
    strategy = Open_ES(population_size=POPULATION, solution=jnp.zeros(dimension))
    params = strategy.default_params
    key = jax.random.key(0)
    state = strategy.init(key, jnp.zeros(dimension), params)
    ask, tell = jax.jit(strategy.ask), jax.jit(strategy.tell)

    def episode(theta: np.ndarray) -> tuple[float, int]:
        layers, at = [], 0
        for a, b in shapes:
            layers.append((theta[at : at + a * b].reshape(b, a), theta[at + a * b : at + a * b + b]))
            at += a * b + b
        seen, _ = env.reset()
        total, steps, over = 0.0, 0, False
        while not over:
            x = seen
            for weights, bias in layers[:-1]:
                x = np.tanh(weights @ x + bias)
            seen, reward, terminated, truncated, _ = env.step(np.clip(layers[-1][0] @ x + layers[-1][1], -1.0, 1.0))
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        return total, steps

    def generation() -> int:
        nonlocal key, state
        key, one, two = jax.random.split(key, 3)
        population, state = ask(one, state, params)
        outcomes = [episode(theta) for theta in np.asarray(population)]
        fitness = jnp.asarray([-total for total, _ in outcomes])
        state, _ = tell(two, population, fitness, state, params)
        return sum(steps for _, steps in outcomes)

    return generation


LOOPS = {"evotorch": evotorch, "evosax": evosax}


def main() -> int:
    import sim.gym_env  # noqa: F401 - registers the environments

    name, env_id, *hidden = sys.argv[1:]
    generation = LOOPS[name](env_id, [int(n) for n in hidden])
    generation()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        steps = generation()
        print(steps, time.process_time() - start, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
