"""What a task leaves in XCom from the triggerer, and the buttons in the UI that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

from rdo_promoter.model.text import web_address

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class _XComLink(BaseOperatorLink):
    """A button that leads where an XCom says."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address that the task has left, empty when it left none."""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


class VotesLink(_XComLink):
    """DLRN's page of the votes on the run's build."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Votes in DLRN"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return "link_votes"


class LogLink(_XComLink):
    """The log of the CI job whose vote decided."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Log of the CI job"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return "link_log"


class ReportLink(_XComLink):
    """DLRN's page of its last builds."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Builds in DLRN"

    @property
    def xcom_key(self) -> str:
        """Where the address is."""
        return "link_report"


def links(*, votes: str = "", log: str = "", report: str = "") -> dict[str, str]:
    """Return the XComs that the buttons are made of; what is no address of a page makes none.

    :param votes: DLRN's page of the build's votes.
    :param log: the CI job's log, as its vote says.
    :param report: DLRN's page of its last builds.
    """
    buttons: tuple[tuple[_XComLink, str], ...] = (
        (VotesLink(), votes),
        (LogLink(), log),
        (ReportLink(), report),
    )
    return {button.xcom_key: address for button, text in buttons if (address := web_address(text))}


async def leave(task_instance: Any, xcoms: Mapping[str, Any]) -> None:
    """Leave XComs of a task that waits in the triggerer.

    :param task_instance: the trigger's; None outside of Airflow, where nothing is left.
    :param xcoms: the values by their keys.
    """
    if task_instance is None:
        return
    key = {name: getattr(task_instance, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    for name, value in xcoms.items():
        await XCom.aset(name, value, **key)
