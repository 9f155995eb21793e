"""Where an image server keeps builds and links, and how files are named there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """How builds and links lie in a release's folder on an image server.

    :param builds: the folder of the builds' folders, relative to the release's; empty: that itself.
    :param names: image -> name of its file, where the two differ.
    """

    builds: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def mirror(self) -> bool:
        """Whether promotions put the builds there; otherwise CI's image job does."""
        return bool(self.builds)

    def file(self, image: str) -> str:
        """Return the name of an image's file.

        :param image: the image as the release file names it.
        """
        return self.names.get(image, image)


#: A folder a build, named by its hash, into which CI's image job uploads; links beside them.
BY_HASH = Layout()


def by_label(names: Mapping[str, str]) -> Layout:
    """Return the layout of a mirror: readers know ``<label>/<file>``; builds lie in a hidden folder.

    :param names: image -> name of its file, where the two differ.
    """
    return Layout(builds=".builds", names=dict(names))
