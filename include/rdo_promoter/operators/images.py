"""Images of a build, copied to an image server of ours."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from rdo_promoter.engine.fetch import Fetch, fetch, look
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.operators.base import PromoterOperator, Result, is_dry_run, run_build


class FetchImagesOperator(PromoterOperator):
    """Copy the images of the run's build to another image server, verified, and remove old builds there.

    :param wanted: the fields of a `Fetch` but the build.
    """

    def __init__(self, *, wanted: dict[str, Any], **kwargs: Any) -> None:
        # Two at once would count on the same room on the disk.
        super().__init__(max_active_tis_per_dag=1, **kwargs)
        self.wanted = wanted

    def act(self, context: Context) -> Result:
        """Copy and clean up; in a dry run say what would be done."""
        wanted = Fetch(build=run_build(context), **self.wanted)
        if is_dry_run(context):
            return self._look(wanted)
        done = fetch(wanted, self.services, self._under_way)
        self._warn(wanted, done.notes)
        return {
            "copied": list(done.copied),
            "already": done.already,
            "bytes": done.size,
            "removed": list(done.removed),
            "notes": list(done.notes),
        }

    def _under_way(self) -> frozenset[str]:
        """Return the builds that promotions work on: planned, and neither completed nor given up."""
        return frozenset(plan.build.full_hash for plan in ledger().unfinished(self.dag_id))

    def _look(self, wanted: Fetch) -> Result:
        would, short = look(wanted, self.services, self._under_way), wanted.build.short
        for change in would.copies:
            self.log.info("%s dry run: would copy %s to %s", short, change.image, wanted.target)
        for folder in would.outdated:
            self.log.info("%s dry run: would remove %s on %s", short, folder, wanted.target)
        refused = (*would.problems, *filter(None, [would.no_room]))
        problems = [f"would be refused: {problem}" for problem in refused]
        self._warn(wanted, (*problems, *would.notes))
        return {
            "dry_run": True,
            "copied": [change.image for change in would.copies],
            "bytes": would.size,
            "removed": list(would.outdated),
            "notes": [*problems, *would.notes],
        }

    def _warn(self, wanted: Fetch, notes: tuple[str, ...]) -> None:
        for note in notes:
            self.log.warning("%s %s", wanted.build.short, note)
