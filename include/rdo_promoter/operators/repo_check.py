"""Whether a label's ``delorean.repo`` is that of the run's build."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from rdo_promoter.engine.observe import single
from rdo_promoter.engine.repo_check import check_repo
from rdo_promoter.operators.base import PromoterOperator, Result, run_build


class CheckRepoOperator(PromoterOperator):
    """Fetch a label's ``delorean.repo`` and make sure that it is the run's build that people get by it.

    A label that names another build by now ends the task, and the stage with it, as skipped. A dry run does
    the same: nothing is changed.

    :param followed: the label, which the build has been given.
    """

    def __init__(self, *, followed: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.followed = followed

    def act(self, context: Context) -> Result:
        """Fetch, compare, and leave what was fetched from where."""
        build = single(run_build(context))
        found = check_repo(self.services.dlrn, self.followed, build)
        self.log.info("%s %s is this build (sha256 %s)", build.short, found.address, found.sha256)
        return {"address": found.address, "sha256": found.sha256}
