"""What a claim takes of groupable jobs, and how it packs them."""

from __future__ import annotations

from collective.clockwork.engine import clock
from collective.clockwork.engine.claims import Claim
from collective.clockwork.engine.job import Job
from collective.clockwork.tests.engine import work

import pytest
import transaction


@pytest.fixture
def put(queue):
    queue.quotas.create("one", size=1)
    queue.quotas.create("two", size=2)

    def put(*kinds, quota=None, **options):
        """Groupable jobs for a "g", others for anything else."""
        for kind in kinds:
            job = Job(work.mirror, kind)
            if quota is not None:
                job.quota_names = (quota,)
            queue.put(job, groupable=kind.startswith("g"), **options)
        transaction.commit()

    return put


def taken(queue, limit=100, run_length=8, group_length=4):
    """The runs of a claim, by the names of their jobs."""
    claim = Claim(
        queue,
        lambda job: True,
        limit,
        clock.now_us(),
        run_length,
        group_length=group_length,
    )
    runs = claim.take()
    transaction.commit()
    return [[job.args[0] for job, _attempt, _key in run] for run in runs]


def test_groupable_jobs_are_packed_and_others_are_not(queue, put):
    put("g1", "g2", "n1", "g3", "n2")
    assert taken(queue) == [["g1", "g2", "g3"], ["n1"], ["n2"]]


def test_a_full_pack_is_followed_by_another(queue, put):
    put("g1", "g2", "g3", "g4", "g5")
    assert taken(queue) == [["g1", "g2", "g3", "g4"], ["g5"]]


def test_packs_of_different_quotas_and_priorities_are_apart(queue, put):
    put("g1", "g2")
    put("g3", "g4", quota="two")
    put("g5", "g6", priority=1)
    assert taken(queue) == [["g5", "g6"], ["g1", "g2"], ["g3", "g4"]]


def test_a_pack_takes_one_place_of_its_quota(queue, put):
    put("g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", quota="two")
    assert taken(queue) == [["g1", "g2", "g3", "g4"], ["g5", "g6", "g7", "g8"]]
    assert taken(queue) == []


def test_none_goes_into_a_pack_past_one_that_has_no_place(queue, put):
    put("g1", "n1", "n2", "g2", quota="two")
    assert taken(queue) == [["g1"], ["n1"]]
    assert [job.args[0] for job in queue] == ["n2", "g2"]


def test_in_a_quota_of_one_all_are_taken_in_order(queue, put):
    put("g1", "n1", "g2", "g3", quota="one")
    assert taken(queue) == [["g1", "n1", "g2", "g3"]]


def test_one_at_a_time_there_is_no_pack(queue, put):
    put("g1", "g2")
    assert taken(queue, group_length=1) == [["g1"], ["g2"]]
