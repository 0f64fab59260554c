"""Does the crash test find what it is for? Between kill and restart the data are damaged as a bad server would leave them.

Stage 03 as built in bin/: what is tried here is the experiment, not the server.
"""

import sqlite3

import pytest

from crash import Run
from servers import ROOT, Failure, Subject

ROUNDS = 6

# A killed server leaves its newest messages in a table of their own. Put with the others, all can be damaged in one place.
SETTLE = "INSERT INTO message SELECT conversation, msg_id, sender, ordinal, sequence, time_ms, id, text FROM recent;" \
         "DELETE FROM recent;"

SABOTAGE = {
    # what: (SQL on the data of the killed server, words of the finding)
    "the last message of each group is lost": (
        "DELETE FROM message WHERE msg_id = (SELECT max(msg_id) FROM message AS m"
        " WHERE m.conversation = message.conversation) AND conversation IN (SELECT number FROM chat_group)",
        "lost|is not there|begins otherwise"),
    "one in the middle is lost": ("DELETE FROM message WHERE msg_id = 2", "gaps"),
    "a text is changed": ("UPDATE message SET text = text || '.' WHERE msg_id = 3", "nobody sent"),
    "a sender is changed": ("UPDATE message SET sender = sender % 2 + 1 WHERE msg_id = 3", "nobody sent"),
    "one is there twice": (
        "INSERT INTO message SELECT conversation, max(msg_id) + 1, sender, max(ordinal) + 1, max(sequence) + 100000,"
        " time_ms + 100000, NULL, text FROM message GROUP BY conversation", "stands elsewhere, too"),
    "ids are forgotten": ("UPDATE message SET id = NULL", "Sent again"),
    "times are others": ("UPDATE message SET time_ms = time_ms + 1", "It stands at"),
    "marks are forgotten": ("UPDATE member SET mark = 0", "mark in"),
    "passwords are others": ("UPDATE user SET hash = (SELECT hash FROM user ORDER BY number LIMIT 1)", "passwd_error"),
    "a profile is an old one": ("UPDATE user SET display_name = 'name 1' WHERE display_name LIKE 'name %'", "changes were"),
    "accounts are lost": ("DELETE FROM user WHERE display_name LIKE 'number %'", "registrations were answered"),
}


def run(subject):
    Run("03-epoll", ROOT / "bin", "self-test", ROUNDS, subject).go()


@pytest.mark.parametrize("what", SABOTAGE)
def test_damage_is_found(what):
    statement, words = SABOTAGE[what]

    class Damaged(Subject):
        def bury(self):
            super().bury()
            with sqlite3.connect(self.data / "chat.db") as database:
                database.executescript(SETTLE + statement)
            database.close()

    with pytest.raises(AssertionError, match=words):
        run(Damaged)


def test_a_lost_log_is_found():
    """As if nothing had been flushed since the last checkpoint."""
    class Forgetful(Subject):
        def bury(self):
            super().bury()
            (self.data / "chat.db-wal").unlink(missing_ok=True)

    with pytest.raises(AssertionError):
        run(Forgetful)


def test_what_a_failure_says():
    class Forgetful(Subject):
        def bury(self):
            super().bury()
            with sqlite3.connect(self.data / "chat.db") as database:
                database.executescript(SETTLE + "DELETE FROM message WHERE msg_id > 5")
            database.close()

    run = Run("03-epoll", ROOT / "bin", 7, ROUNDS, Forgetful)
    with pytest.raises(Failure) as failure:
        run.go()
    report = run.report_failure(failure.value)
    for words in ("03-epoll: FAILED in round", "  sent     in round 1, ", "  answered (", "SIGKILL",
                  "Again: make crashtest STAGE=03-epoll ROUNDS=6 SEED=7"):
        assert words in report, report
