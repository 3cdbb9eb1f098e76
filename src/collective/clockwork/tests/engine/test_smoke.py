from collective.clockwork.engine.compose import parallel
from collective.clockwork.engine.compose import serial
from collective.clockwork.engine.job import Job
from collective.clockwork.engine.testing import drain
from collective.clockwork.engine.testing import wait_for_result
from collective.clockwork.tests.engine import work

import transaction


def test_drain(db, root, queue):
    root["c"] = work.Counter()
    j = queue.put(root["c"].add)
    transaction.commit()
    k = queue.put(Job(work.echo, 1, a=2))
    transaction.commit()
    assert len(queue) == 2
    assert str(j.status) == "pending-status"
    assert drain(db) == 2
    transaction.begin()
    assert root["c"].count == 1
    assert j.status == "completed-status", j.status
    assert k.result == ((1,), {"a": 2})
    assert len(queue) == 0


def test_dispatch(db, root, queue, start_dispatcher):
    start_dispatcher()
    root["c"] = work.Counter()
    root["l"] = work.Ledger()
    transaction.commit()
    js = []
    for i in range(50):
        js.append(queue.put(root["c"].add))
        transaction.commit()
    s = queue.put(
        serial(
            Job(work.note, root["l"], "a"),
            Job(work.note, root["l"], "b"),
            postprocess=work.results,
        )
    )
    transaction.commit()
    p = queue.put(parallel(work.answer, work.boom, postprocess=work.results))
    transaction.commit()
    for j in js:
        wait_for_result(j)
    assert root["c"].count == 50
    assert wait_for_result(s) == ("a", "b")
    print(wait_for_result(p))
    print(dict(root["l"]))
