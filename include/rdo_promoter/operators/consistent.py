"""Stage 0: what holds `consistent` back, for people to see."""

from __future__ import annotations

from airflow.sdk import Context

from rdo_promoter.errors import PromoterError, ServiceError
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.holding import Held, sentence
from rdo_promoter.operators.base import PromoterOperator, form, skip
from rdo_promoter.triggers.links import ReportLink, links

#: Where the whole list is.
HOLDING_KEY = "holding"


class TellHoldingOperator(PromoterOperator):
    """Tell which packages hold `consistent` back, also in a run that has nothing new to carry.

    It ends as skipped when some do, and when that cannot be told; it decides nothing, so it never fails a
    run. It tells of now: a run whose build somebody named, and one of the past, are skipped.
    """

    operator_extra_links = (ReportLink(),)

    def act(self, context: Context) -> None:
        """Ask DLRN, and leave what it says in the log and in XCom."""
        if context["dag_run"].run_type == "backfill":
            raise skip(context, f"not told in a backfill: what holds {CONSISTENT} back is told of now")
        if str(form(context).get("hash") or "").strip():
            raise skip(context, f"not told in a run of a named build: it does not wait for {CONSISTENT}")
        for held in (found := self._ask(context)):
            self.log.info("%s", held.told)
        context["ti"].xcom_push(key=HOLDING_KEY, value=[held.to_json() for held in found])
        if found:
            raise skip(context, sentence(found))
        self.log.info(
            "nothing in DLRN's report holds %s back; it leaves out what was never built", CONSISTENT
        )

    def _ask(self, context: Context) -> tuple[Held, ...]:
        ti = context["ti"]
        try:
            dlrn = self.services.dlrn
            for key, address in links(report=dlrn.report_page).items():
                ti.xcom_push(key=key, value=address)
            return dlrn.holding()
        except PromoterError as error:
            if isinstance(error, ServiceError) and ti.try_number <= ti.max_tries:
                raise  # there is another try
            # A leaf that fails would fail a run that lacks nothing.
            raise skip(context, f"what holds {CONSISTENT} back cannot be told: {error}") from error
