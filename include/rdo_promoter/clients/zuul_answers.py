"""What Zuul sends, read into values of the model; nothing above sees a raw answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from rdo_promoter.errors import AnswerError
from rdo_promoter.model.ci import Buildset, JobRun, LiveJob

_T = TypeVar("_T")

#: Seconds since the epoch of the year 9999: nothing later can be written down.
_LATEST = 253402300799


def _time(value: object) -> object:
    """Read a time: text without a zone, which is UTC."""
    if not isinstance(value, str):
        return value
    time = datetime.fromisoformat(value)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _plain(value: object) -> object:
    return "" if value is None else value


def _number_as_text(value: object) -> object:
    # A change has a number on Gerrit and GitHub, and may have text elsewhere.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _unless_null(value: object) -> object:
    return True if value is None else value


_Time = Annotated[StrictInt, BeforeValidator(_time), Field(ge=0, le=_LATEST)]
_Uuid = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{32}$")]
_Text = Annotated[StrictStr, BeforeValidator(_plain)]
_Name = Annotated[StrictStr, Field(min_length=1)]
_Seconds = Annotated[FiniteFloat, Field(ge=0, le=_LATEST)]
_Milliseconds = Annotated[FiniteFloat, Field(ge=0, le=_LATEST * 1000)]
_True = Annotated[StrictBool, BeforeValidator(_unless_null)]


class _Answer(BaseModel):
    """A foreign object: keys that a newer server adds are of no interest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Ref(_Answer):
    project: _Text = ""
    branch: _Text = ""
    change: Annotated[StrictStr | None, BeforeValidator(_number_as_text)] = None


class _BuildsetName(_Answer):
    uuid: _Uuid


class _Build(_Answer):
    uuid: _Uuid
    job_name: _Name
    result: _Name | None = None
    start_time: _Time | None = None
    end_time: _Time | None = None
    voting: _True = True
    final: _True = True
    log_url: _Text = ""
    pipeline: _Text = ""
    buildset: _BuildsetName | None = None
    index: Annotated[StrictInt, Field(ge=0)] | None = Field(None, alias="_id")
    # Up to 9.5 the fields of the ref stand beside the others, and `ref` is its name.
    ref: _Ref | StrictStr | None = None
    project: _Text = ""
    branch: _Text = ""
    change: Annotated[StrictStr | None, BeforeValidator(_number_as_text)] = None

    def run(self, pipeline: str = "", buildset: str = "") -> JobRun:
        of = self.ref if isinstance(self.ref, _Ref) else self
        return JobRun(
            uuid=self.uuid,
            job=self.job_name,
            result=self.result,
            started=self.start_time,
            ended=self.end_time,
            pipeline=self.pipeline or pipeline,
            buildset=self.buildset.uuid if self.buildset else buildset,
            voting=self.voting,
            final=self.final,
            project=of.project,
            branch=of.branch,
            change=of.change,
            log_url=self.log_url,
            index=self.index,
        )


class _Buildset(_Answer):
    uuid: _Uuid
    pipeline: _Name
    result: _Name | None = None
    builds: tuple[_Build, ...] = ()
    retry_builds: tuple[_Build, ...] = ()


class _LiveJob(_Answer):
    name: _Name
    uuid: _Uuid | None = None
    result: _Name | None = None
    start_time: _Seconds | None = None
    remaining_time: _Milliseconds | None = None


class _Item(_Answer):
    enqueue_time: _Milliseconds | None = None
    jobs: tuple[_LiveJob, ...] = ()


class _Queue(_Answer):
    heads: tuple[tuple[_Item, ...], ...] = ()


class _Pipeline(_Answer):
    name: _Name
    change_queues: tuple[_Queue, ...] = ()


class _Status(_Answer):
    pipelines: tuple[_Pipeline, ...]


_BUILDS = TypeAdapter(tuple[_Build, ...])
_BUILDSET = TypeAdapter(_Buildset)
_BUILDSETS = TypeAdapter(tuple[_Buildset, ...])
_STATUS = TypeAdapter(_Status)


def job_runs(data: object, where: str, pipeline: str) -> list[JobRun]:
    """Read the answer of ``/builds``, in Zuul's order.

    :param where: the question, for messages.
    :param pipeline: the pipeline that was asked for.
    :raises AnswerError: when it is no list of builds, or one is of another pipeline.
    """
    runs = [build.run() for build in _read(_BUILDS, data, where)]
    for at, run in enumerate(runs):
        _check_pipeline(run.pipeline, pipeline, f"{where}: {at}")
        if not run.buildset:
            raise AnswerError(f"{where}: {at}.buildset is missing: nothing says what the build is part of")
    return runs


def buildset(data: object, where: str, uuid: str) -> Buildset:
    """Read the answer of ``/buildset/<uuid>``, attempts that were made once more among its runs.

    :param where: the question, for messages.
    :param uuid: the buildset that was asked for.
    :raises AnswerError: when it is another one, or none.
    """
    found = _read(_BUILDSET, data, where)
    if found.uuid != uuid:
        raise AnswerError(f"{where}: asked was buildset {uuid}, the answer is about {found.uuid}")
    runs = [build.run(found.pipeline, uuid) for build in (*found.builds, *found.retry_builds)]
    for run in runs:
        _check_pipeline(run.pipeline, found.pipeline, f"{where}: build {run.uuid}")
        if run.buildset != uuid:
            raise AnswerError(f"{where}: build {run.uuid} is of buildset {run.buildset}")
    return Buildset(uuid=uuid, pipeline=found.pipeline, result=found.result, runs=tuple(runs))


def buildsets(data: object, where: str, pipeline: str) -> list[Buildset]:
    """Read the answer of ``/buildsets``, in Zuul's order; their runs are not part of it.

    :param where: the question, for messages.
    :param pipeline: the pipeline that was asked for.
    :raises AnswerError: when it is no list of buildsets, or one is of another pipeline.
    """
    found = _read(_BUILDSETS, data, where)
    for at, each in enumerate(found):
        _check_pipeline(each.pipeline, pipeline, f"{where}: {at}")
    return [Buildset(uuid=each.uuid, pipeline=each.pipeline, result=each.result) for each in found]


def live_jobs(data: object, where: str, pipeline: str) -> list[LiveJob]:
    """Read the jobs of a pipeline out of the answer of ``/status``; none when it names no such pipeline.

    :param where: the question, for messages.
    :raises AnswerError: when it is something else.
    """
    pipelines = [each for each in _read(_STATUS, data, where).pipelines if each.name == pipeline]
    items = [item for each in pipelines for item in _items_of(each)]
    return [
        LiveJob(
            job=job.name,
            item=number,
            uuid=job.uuid,
            queued=_whole(item.enqueue_time, 1000),
            started=_whole(job.start_time),
            remaining=_whole(job.remaining_time, 1000),
            result=job.result,
        )
        for number, item in enumerate(items)
        for job in item.jobs
    ]


def _whole(value: float | None, unit: int = 1) -> int | None:
    """Return whole seconds.

    :param unit: how many of the value's units a second has.
    """
    return None if value is None else int(value / unit)


def _items_of(pipeline: _Pipeline) -> Iterable[_Item]:
    for queue in pipeline.change_queues:
        for head in queue.heads:
            yield from head


def _check_pipeline(found: str, asked: str, where: str) -> None:
    # A filter counts only when the answer shows it.
    if found != asked:
        raise AnswerError(f"{where} is of pipeline {found!r:.80}, asked was {asked!r}")


def _read(adapter: TypeAdapter[_T], data: object, where: str) -> _T:
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "answer"
        raise AnswerError(
            f"{where}: {place} is {first['input']!r:.80}: {first['msg']}; is this the address of a Zuul?"
        ) from error
