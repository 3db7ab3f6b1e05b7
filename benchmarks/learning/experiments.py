"""What is trained and compared, a line a family, and the figures that the project set itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from esmaml_robot.evaluation import Split

Mean = Callable[[str], float]


@dataclass(frozen=True)
class Table:
    """One table of an experiment: a split and a number of operator queries, and what it is meant to show.

    Attributes:
        bar: out of the mean over seeds of each line's adapted return (by label), whether the figure is reached.
        wanted: the same in words.
        apart: the figure counts only with intervals apart from every control on every seed.
    """

    queries: int
    split: Split = "test"
    bar: Callable[[Mean], bool] | None = None
    wanted: str = "ES-MAML above both controls, intervals apart"
    apart: bool = False


@dataclass(frozen=True)
class Experiment:
    """One family: the training settings beyond its preset, and its tables.

    Attributes:
        unit: of the return.
        tasks: held-out tasks a table.
        validation_tasks: on which inner sigmas are chosen.
        settings: as `esmaml train --set`.
        robust_episodes: episodes of domain randomisation that ES-MAML starts from; 0 to start from the preset's
            initial parameters. They count: domain randomisation gets the same total.
        grid: inner sigmas to choose from.
    """

    family: str
    unit: str
    tables: Sequence[Table]
    tasks: int = 128
    validation_tasks: int = 48
    settings: tuple[str, ...] = ()
    robust_episodes: int = 0
    grid: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    remarks: str = field(default="")


OURS, DR, UNTRAINED = "ES-MAML", "domain randomisation", "untrained (theta = 0) *"


def ahead_by(share: float) -> Callable[[Mean], bool]:
    """A bar: ES-MAML at its best step that much above domain randomisation, whichever of its two steps is better."""

    def reached(mean: Mean) -> bool:
        control = max(mean(DR), mean(DR + " *"))
        return mean(OURS + " *") >= control + share * abs(control)  # a return may be negative

    return reached


EXPERIMENTS: dict[str, Experiment] = {
    e.family: e
    for e in (
        Experiment(
            "four_corners",
            "1",
            [
                Table(
                    20,
                    bar=lambda mean: mean(OURS) >= -110.0,
                    wanted="21 episodes: at least -110; the untrained start's best is about -207",
                )
            ],
            tasks=512,
            validation_tasks=256,
        ),
        Experiment(
            "cheetah_direction",
            "m/s",
            [
                Table(
                    10,
                    bar=lambda mean: mean(OURS) >= 1.3 and mean(DR) <= 0.7 and mean(UNTRAINED) <= 0.85,
                    wanted="11 episodes: at least 1.3 m/s, domain randomisation at most 0.7, untrained at most 0.85",
                ),
                Table(30, bar=lambda mean: mean(OURS) >= 1.6, wanted="31 episodes: at least 1.6 m/s"),
            ],
            tasks=64,
            validation_tasks=24,
        ),
        Experiment("nav2d", "m^2", [Table(20)], tasks=256, validation_tasks=64, settings=("episodes=200000",)),
        Experiment("cheetah_velocity", "m/s", [Table(10)], tasks=64, validation_tasks=24, settings=("episodes=12000",)),
        Experiment("ant_direction", "m/s", [Table(10)], tasks=64, validation_tasks=24, settings=("episodes=30000",)),
        Experiment("cartpole_sensors", "share of the episode", [Table(20)], tasks=256, validation_tasks=64),
        Experiment("reacher_payload", "cm", [Table(20)], tasks=128, settings=("episodes=120000",)),
        Experiment(
            "quadruped_dynamics",
            "m/s",
            [
                Table(
                    10,
                    "outside",
                    bar=ahead_by(0.35),
                    wanted="outside the training range, 11 episodes: at least 35 % above domain randomisation, "
                    "intervals apart",
                    apart=True,
                ),
                Table(
                    50,
                    "outside",
                    bar=ahead_by(0.35),
                    wanted="outside the training range, 51 episodes: at least 35 % above domain randomisation, "
                    "intervals apart",
                    apart=True,
                ),
                Table(
                    10,
                    bar=ahead_by(0.08),
                    wanted="inside the training range, 11 episodes: at least 8 % above domain randomisation, "
                    "intervals apart",
                    apart=True,
                ),
            ],
            tasks=48,
            validation_tasks=16,
            settings=("episodes=22000",),
            robust_episodes=8_000,
            grid=(0.02, 0.05, 0.1, 0.2),
        ),
        Experiment(
            "quadruped_direction",
            "m/s",
            [Table(10)],
            tasks=200,
            validation_tasks=25,
            settings=("episodes=30000",),
            grid=(0.05, 0.1, 0.2, 0.4),
        ),
        Experiment("combo", "1", [Table(20)], tasks=256, validation_tasks=64, settings=("episodes=200000",)),
        Experiment("sinusoid", "-squared error", [Table(20)], tasks=256, validation_tasks=128),
    )
}
