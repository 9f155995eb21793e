"""The exception tree of the package.

Every message says what, where, why, and what to do. The branch says what a caller may do::

    PromoterError
    +-- TransientError             try again, nothing is known to be wrong for good
    |   +-- ServiceError           no answer, a time-out, a 5xx or a 429
    |   +-- MissingConnectionError Airflow has no such Connection, or cannot tell
    +-- PermanentError             trying again gives the same answer; a person has to act
    |   +-- ConfigError            a release file, a Connection or a form is wrong
    |   +-- AuthError              not logged in, or not allowed
    |   +-- NotFoundError          something that is needed does not exist
    |   +-- AnswerError            a server's answer is not what it promised
    |   |   +-- DigestMismatchError
    |   +-- PreflightError         something was refused before any promoted label moved
    |   +-- UnfinishedError        a promotion cannot go on, and some of its labels have moved
    |   +-- ConflictError          somebody outside moved a label meanwhile
    +-- SupersededError            a newer build holds the label: this one has nothing left to win
"""

from __future__ import annotations

from collections.abc import Sequence


class PromoterError(Exception):
    """Base of all errors that this package raises on purpose."""


class TransientError(PromoterError):
    """The same call may succeed later."""


class ServiceError(TransientError):
    """A service did not answer, or answered that it could not serve.

    :param message: what was asked of which service, and what came back.
    :param status: the HTTP status, when there was an answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MissingConnectionError(TransientError):
    """Airflow says that a Connection does not exist.

    It says so, too, when its API server or a secrets backend does not answer (3.3.2). Where a stage begins
    that is a refusal; whoever is at work already, and had the Connection then, tries again.
    """


class PermanentError(PromoterError):
    """The same call will fail again until a person has changed something."""


class ConfigError(PermanentError):
    """A release file, a Connection or a form holds something that cannot be used."""


class AuthError(PermanentError):
    """Credentials are missing, wrong, or not sufficient."""


class NotFoundError(PermanentError):
    """Something that is needed does not exist."""


class AnswerError(PermanentError):
    """A server answered with something else than what was asked for."""


class DigestMismatchError(AnswerError):
    """Content or a tag has another digest than the one that was promised.

    :param what: the content, for example ``nova-api:current-tripleo``.
    :param actual: the digest that was found.
    :param expected: the digest that it has to have.
    :param where: the service, for example ``registry dockerhub``.
    """

    def __init__(self, what: str, *, actual: str | None, expected: str, where: str) -> None:
        super().__init__(f"{what} is {actual or 'missing'}, expected {expected} ({where})")
        self.what = what
        self.actual = actual
        self.expected = expected
        self.where = where


class PreflightError(PermanentError):
    """A promotion or one of its steps was refused; no promoted label has moved.

    :param subject: the promotion, for example ``54480e71 to current-tripleo``.
    :param problems: one line for each thing that is missing or wrong.
    :param kept: what is known to be as it was.
    """

    def __init__(self, subject: str, problems: Sequence[str], *, kept: str = "nothing was changed") -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{subject} is refused, {kept}; {len(problems)} problem(s):\n{lines}")
        self.subject = subject
        self.problems = tuple(problems)


class UnfinishedError(PermanentError):
    """A promotion cannot go on, and some of its labels name its build already.

    :param subject: the promotion, for example ``54480e71 to current-tripleo``.
    :param problems: one line for each thing that is missing or wrong.
    :param moved: one line for each place where labels have moved.
    """

    def __init__(self, subject: str, problems: Sequence[str], moved: Sequence[str]) -> None:
        wrong, done = ("\n".join(f"  - {line}" for line in lines) for lines in (problems, moved))
        super().__init__(
            f"{subject} is not complete. In the way:\n{wrong}\nThis has moved already:\n{done}\n"
            "Mend the first and clear the whole promotion group: it does what is left"
        )
        self.subject = subject
        self.problems = tuple(problems)
        self.moved = tuple(moved)


class ConflictError(PermanentError):
    """A label names another build than when the plan was made: somebody outside moved it."""


class SupersededError(PromoterError):
    """A newer build holds the label.

    :param message: which build is superseded by which.
    :param by: the full hash of the build that holds the label.
    """

    def __init__(self, message: str, *, by: str) -> None:
        super().__init__(message)
        self.by = by


def said(error: BaseException) -> str:
    """Return an error's message with its notes: how far many small actions came before it."""
    return "; ".join((str(error), *getattr(error, "__notes__", ())))
