"""Times: DLRN's clock counts, and how far this machine's is from it. Pure.

Rows and votes bear DLRN's times, so ages and deadlines compare them with the Date header of DLRN's answers,
never with this machine's clock. All of them are seconds since the epoch, and UTC where people read them.
"""

from __future__ import annotations

from datetime import UTC, datetime

#: Seconds: the clocks of machines that are kept by NTP are never so far apart.
SKEW_MAX = 30

#: Seconds: an API and its database may live on two machines, and Date is cut to whole seconds.
_TOLERANCE = 60


def utc(seconds: float) -> str:
    """Write a time as people read it: ``2019-03-14 15:09:26Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def is_over(since: int, within: int, *, now: int) -> bool:
    """Tell whether a period is over.

    A beginning in the future shows that DLRN's clock was set back. By less than the period, the period ends
    when it would have ended, so it lasts at most twice as long. By more, the beginning says nothing and the
    period is over: after a clock that was a year ahead everybody would wait for a year.

    :param since: its beginning, a time that DLRN wrote down.
    :param within: its length in seconds.
    :param now: DLRN's time.
    """
    return max(0, now - since) >= within or is_from_the_future(since, max(within, _TOLERANCE), now=now)


def is_from_the_future(time: int, by: int = _TOLERANCE, *, now: int) -> bool:
    """Tell whether DLRN wrote down a time that it has not reached: its clock was set back since.

    :param time: what DLRN wrote down.
    :param by: seconds that it may be ahead.
    :param now: DLRN's time.
    """
    return time - now > by


def skew(date: float, *, sent: float, received: float) -> float:
    """Return how many seconds this machine's clock is certainly ahead of a server's; negative is behind.

    The server wrote its Date, cut to whole seconds, at some moment while it was asked. What the time between
    question and answer or the cut second can explain is no skew.

    :param date: the answer's Date.
    :param sent: this machine's time when it asked.
    :param received: this machine's time when it had the answer.
    """
    least, most = sent - (date + 1), received - date
    return least if least > 0 else min(most, 0.0)
