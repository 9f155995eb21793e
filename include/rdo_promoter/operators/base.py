"""What every operator here does: find the run's build, map errors to task states, honour a dry run."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from rdo_promoter.errors import MissingConnectionError, PermanentError, SupersededError, said
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.triggers.names import BUILD_KEY, BUILD_TASK, REASON_KEY

log = logging.getLogger(__name__)

#: What an operator leaves in XCom for people and for later tasks.
Result = dict[str, Any]


def skip(context: Context, reason: str) -> AirflowSkipException:
    """Leave the reason in the log and in XCom and return the exception that ends the task as skipped."""
    log.info("%s", reason)
    context["ti"].xcom_push(key=REASON_KEY, value=reason)
    return AirflowSkipException(reason)


def fail(context: Context, reason: str) -> AirflowFailException:
    """Leave the reason in the log and in XCom and return the exception that fails the task for good."""
    log.error("%s", reason)
    context["ti"].xcom_push(key=REASON_KEY, value=reason)
    return AirflowFailException(reason)


def run_build(context: Context) -> Build:
    """Return the build that the run carries.

    :raises AirflowFailException: when the task that pins it left none, as after clearing it alone.
    """
    text = context["ti"].xcom_pull(task_ids=BUILD_TASK, key=BUILD_KEY)
    if text is None:
        raise fail(
            context,
            f"{BUILD_TASK} left no build in this run; clear {BUILD_TASK} together with what follows it",
        )
    return build_from_json(json.loads(text))


def is_dry_run(context: Context) -> bool:
    """Tell whether the run may change anything."""
    return bool(context["params"].get("dry_run", False))


def is_scheduled(context: Context) -> bool:
    """Tell whether the clock started the run; otherwise somebody asked for it."""
    return context["dag_run"].run_type == "scheduled"


class PromoterOperator(BaseOperator):
    """Base of the package's operators.

    Errors become states: superseded ends as skipped, what a person has to mend fails without a retry,
    everything else is retried as the Dag says.

    :param services: makes the release's clients from Airflow Connections.
    """

    ui_color = "#eef3f8"

    #: Whether it comes before a stage knocks at every door: a Connection that is missing there is not there.
    begins = False

    def __init__(self, *, services: ConnectionServices, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.services = services

    def execute(self, context: Context) -> Result | None:
        """Do the step on the run's build."""
        return self.guarded(context, lambda: self.act(context))

    def guarded(self, context: Context, act: Callable[[], Result | None]) -> Result | None:
        """Map what goes wrong to the task's state.

        :param act: what is done.
        """
        try:
            return act()
        except SupersededError as error:
            raise skip(context, str(error)) from error
        except PermanentError as error:
            raise fail(context, f"{type(error).__name__}: {said(error)}") from error
        except MissingConnectionError as error:
            if self.begins:
                raise fail(context, str(error)) from error
            raise

    @abstractmethod
    def act(self, context: Context) -> Result | None:
        """Do the step; errors of the package are mapped by `execute`."""


def form(context: Context) -> Mapping[str, Any]:
    """Return what was entered in the run's form; its defaults in scheduled runs."""
    params: Mapping[str, Any] = context["params"]
    return params
