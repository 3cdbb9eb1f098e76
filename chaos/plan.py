"""What is queued and what goes wrong, decided by the seed before the run begins."""

from __future__ import annotations

from chaos.stages import KILLED_AT
from dataclasses import dataclass

import random


#: Kind of job to how many of a thousand are of it.
KINDS = {
    "plain": 320,
    "ranked": 40,
    "grouped": 60,
    "grouped failing": 10,
    "async": 30,
    "cancelled": 30,
    "stoppable": 8,
    "overdue": 8,
    "unique": 60,
    "line": 150,
    "pair": 50,
    "callback": 70,
    "failing": 40,
    "wobbly": 40,
    "delayed": 60,
    "serial": 20,
    "parallel": 20,
    "unstorable": 10,
}
#: Keys of the unique jobs: what is done with a second one.
KEYS = ("refuse", "drop", "replace", "debounce")
#: Jobs in a batch, besides the batch itself.
MEMBERS = 3


@dataclass(frozen=True)
class Size:
    """How much of everything there is in a run."""

    #: Rows of the ledger; a batch is one, so there are more jobs.
    rows: int
    poison: int
    large: int
    resumable: int
    hanging: int
    kills: int
    freezes: int
    vote_freezes: int
    restarts: int
    cuts: int
    full_disks: int
    producer_kills: int
    #: Longest pause in seconds between two faults.
    pause: float
    workers: int = 4
    producers: int = 2


LONG = Size(
    rows=9500,
    poison=4,
    large=20,
    resumable=40,
    hanging=5,
    kills=310,
    freezes=20,
    vote_freezes=4,
    restarts=12,
    cuts=24,
    full_disks=8,
    producer_kills=6,
    pause=1.2,
)
SHORT = Size(
    rows=400,
    poison=1,
    large=1,
    resumable=4,
    hanging=1,
    kills=10,
    freezes=1,
    vote_freezes=0,
    restarts=1,
    cuts=2,
    full_disks=1,
    producer_kills=1,
    pause=0.8,
    workers=3,
)


@dataclass(frozen=True)
class Row:
    """A job to be queued."""

    kind: str
    seconds: float
    delay: float
    #: 0 for most.
    priority: int
    #: Of a unique job.
    key: str | None
    #: A job that is to be cancelled is so when that many more are queued.
    cancelled_after: int


def rows(seed: int, size: Size, producer: int) -> list[Row]:
    """What this producer queues, in this order."""
    chance = random.Random(f"{seed} rows {producer}")
    count = size.rows // size.producers
    kinds = chance.choices(list(KINDS), list(KINDS.values()), k=count)
    if producer:
        # One producer queues all that has an order, or a key that is looked up.
        kinds = ["plain" if kind in ("line", "unique") else kind for kind in kinds]
    else:
        rare = ["poison"] * size.poison + ["large"] * size.large
        rare += ["resumable"] * size.resumable + ["hanging"] * size.hanging
        places = chance.sample(range(count), len(rare))
        for place, kind in zip(places, rare, strict=True):
            kinds[place] = kind
    return [
        Row(
            kind=kind,
            seconds=chance.choice((0, 0, 0, 0, 0, 0.002, 0.02, 0.1)),
            delay=chance.uniform(0.2, 6) if kind == "delayed" else 0,
            priority=chance.choice((-7, 3, 3, 20)) if kind == "ranked" else 0,
            key=chance.choice(KEYS) if kind == "unique" else None,
            cancelled_after=chance.choice((1, 1, 4, 15, 30)),
        )
        for kind in kinds
    ]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, so many seconds after the one before it."""

    pause: float
    name: str
    #: Which worker, or producer.
    target: int
    #: How long it lasts, or how long until the process is started again.
    seconds: float
    #: Of a kill: at which stage; None for any moment.
    stage: str | None = None


def faults(seed: int, size: Size) -> list[Fault]:
    """All that goes wrong, in this order."""
    chance = random.Random(f"{seed} faults")
    stages = list(KILLED_AT)
    names = ["kill"] * size.kills
    names += ["freeze"] * size.freezes
    names += ["vote freeze"] * size.vote_freezes
    names += ["restart"] * size.restarts
    names += ["cut"] * size.cuts
    names += ["full disk"] * size.full_disks
    names += ["producer kill"] * size.producer_kills
    chance.shuffle(names)
    planned = []
    staged = 0
    for name in names:
        stage = None
        if name == "kill" and chance.random() < 0.5:
            stage = stages[staged % len(stages)]
            staged += 1
        planned.append(
            Fault(
                pause=chance.uniform(0.1, size.pause),
                name=name,
                target=chance.randrange(1000),
                seconds=_duration(name, chance),
                stage=stage,
            )
        )
    return planned


def _duration(name: str, chance: random.Random) -> float:
    if name == "kill":
        return chance.choice((0, 0, 0, 0.5, 4))
    if name in ("freeze", "vote freeze"):
        return chance.uniform(4, 8)
    return chance.uniform(0.5, 3)
