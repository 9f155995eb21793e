"""The wait_for step: CI jobs whose votes on the build are awaited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field

from rdo_promoter.steps.base import Problem, Scope, Step
from rdo_promoter.steps.fields import Duration, FrozenMap, JobName, SomeDistinct, format_duration, nearest


class WaitFor(Step):
    """Wait until every job has a vote for the run's build: the criteria of what follows.

    :param jobs: the jobs that have to pass, as DLRN's votes name them.
    :param within: seconds since the build got the candidate label; a job without a pass by then fails.
    :param alternatives: jobs that may pass in place of a listed one.
    :param retry_delay: seconds until a failed job is looked at again: it may have been rerun.
    """

    kind: ClassVar[str] = "wait_for"
    decides: ClassVar[bool] = True

    jobs: SomeDistinct[JobName]
    within: Annotated[Duration, Field(ge=1)]
    alternatives: FrozenMap[JobName, SomeDistinct[JobName]] = Field(default={}, validate_default=True)
    retry_delay: Annotated[Duration, Field(ge=1)] = 600

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        for job, others in self.alternatives.items():
            path = ("alternatives", job)
            if job not in self.jobs:
                yield Problem(path, f"no job of this step: {nearest(job, self.jobs)}")
            for index, other in enumerate(others):
                if other in self.jobs:
                    yield Problem(
                        (*path, index),
                        f"{other!r} is required by this step anyway and cannot stand in for another job: "
                        "remove it here or from jobs",
                    )
        if self.retry_delay > self.within:
            yield Problem(
                ("retry_delay",),
                f"{format_duration(self.retry_delay)} is longer than within "
                f"({format_duration(self.within)}): a failed job would not be looked at again",
            )
