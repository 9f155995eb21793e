"""One build of ours from the queue to its end."""

from __future__ import annotations

from dataclasses import dataclass

from rdo_promoter.clients.jenkins import JenkinsClient, Place, read_place
from rdo_promoter.clients.jenkins_answers import JenkinsBuild, QueueItem


@dataclass(frozen=True, slots=True)
class Found:
    """What Jenkins knows of a build of ours.

    :param item: its queue item, while it waits.
    :param build: the build, once it has begun.
    """

    item: QueueItem | None = None
    build: JenkinsBuild | None = None

    @property
    def gone(self) -> bool:
        """Whether Jenkins knows nothing of it."""
        return self.item is None and self.build is None

    @property
    def cancelled(self) -> bool:
        """Whether somebody took it out of the queue before it began."""
        return self.build is None and self.item is not None and self.item.cancelled

    @property
    def over(self) -> bool:
        """Whether it has ended, or never will begin."""
        return self.cancelled or (self.build is not None and not self.build.building)

    @property
    def handle(self) -> str:
        """Where it is, to be found there at once the next time."""
        if self.build is not None:
            return str(Place(number=self.build.number))
        return str(Place(item=self.item.id)) if self.item is not None else ""


def follow(client: JenkinsClient, job: str, mark: tuple[str, str], *, handle: str = "", since: int) -> Found:
    """Return what has become of a build of ours, wherever it is by now.

    A number alone is not believed: a Jenkins that was set up anew counts from 1 again.

    :param job: the job.
    :param mark: the parameter that no other build has, and its value.
    :param handle: where it was the last time, if it is known.
    :param since: when it was asked for at the earliest, seconds since the epoch.
    """
    name, value = mark
    place = read_place(handle)
    if place.number is None and place.item is not None:
        item = client.queue_item(place.item)
        if item is not None and item.parameters.get(name) == value:
            if item.number is None:
                return Found(item=item)
            place = Place(number=item.number)
    if place.number is not None:
        build = client.build(job, place.number)
        if build is not None and build.parameters.get(name) == value:
            return Found(build=build)
    where = client.find(job, name, value, since=since)
    if where is None:
        return Found()
    if where.number is not None:
        return Found(build=client.build(job, where.number))
    assert where.item is not None, "a place that was found has a number"
    return Found(item=client.queue_item(where.item))
