"""Claims of one machine keep apart, and nobody is held up by it."""

from __future__ import annotations

from collective.clockwork.engine import claimlock
from collective.clockwork.engine.claimlock import ClaimLock

import os
import pytest
import stat


@pytest.fixture
def locks(db, tmp_path, monkeypatch):
    """Two locks of one database, as two processes have them."""
    monkeypatch.setattr(claimlock.tempfile, "gettempdir", lambda: str(tmp_path))
    pair = [ClaimLock(db), ClaimLock(db)]
    yield pair
    for lock in pair:
        lock.close()


def test_one_has_it_at_a_time(locks):
    here, there = locks
    with here.held() as first:
        assert first
        with there.held() as second:
            assert not second
    with there.held() as later:
        assert later


def test_it_is_given_up_when_the_claim_fails(locks):
    here, there = locks
    with pytest.raises(LookupError), here.held():
        raise LookupError
    with there.held() as got:
        assert got


def test_databases_have_locks_of_their_own(locks, db, monkeypatch):
    monkeypatch.setattr(db.storage, "sortKey", lambda: "another")
    other = ClaimLock(db)
    with locks[0].held(), other.held() as got:
        assert got
    other.close()


def test_only_its_user_can_open_the_file(locks):
    with locks[0].held():
        mode = os.stat(locks[0].path).st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_link_in_its_place_is_not_followed(locks, tmp_path):
    target = tmp_path / "target"
    locks[0].path.symlink_to(target)
    with locks[0].held() as got:
        assert not got
    assert not target.exists()


def test_without_such_locks_claims_go_on(locks, monkeypatch):
    monkeypatch.setattr(claimlock, "fcntl", None)
    with locks[0].held() as got:
        assert not got


def test_who_has_it_next_has_heard_of_the_last_claim(locks, db, monkeypatch):
    here, there = locks
    with here.held():
        pass
    heard = [b"\0" * 8, b"\0" * 8]
    told = db.lastTransaction()
    monkeypatch.setattr(db, "lastTransaction", lambda: heard.pop() if heard else told)
    with there.held():
        assert not heard


def test_a_transaction_that_nobody_hears_of_holds_nobody_up(locks, db, monkeypatch):
    here, there = locks
    with here.held():
        pass
    monkeypatch.setattr(db, "lastTransaction", lambda: b"\0" * 8)
    with there.held() as got:
        assert got
