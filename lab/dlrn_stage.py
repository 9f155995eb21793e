"""Runs in DLRN's own environment: does to its database and its tree what its builder would do.

Reads one JSON object on stdin: ``root``, and a list of ``steps`` that are carried out in order, each with
an ``op``. Prints what they made, as JSON. What belongs to a component is done as DLRN does it in component
mode.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlrn import db, utils  # type: ignore[import-not-found]  # not installed where mypy runs
from dlrn.purge import FLAG_PURGED  # type: ignore[import-not-found]
from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

#: The least that sha512_crypt allows is 1000; DLRN's own default makes each login cost 0.25 s.
ROUNDS = 5000

VERSIONS_HEAD = (
    "Project,Source Repo,Source Sha,Dist Repo,Dist Sha,Status,"
    "Last Success Timestamp,Component,Extended Sha,Pkg NVR\n"
)
STATUS_HEAD = "Project,Source Sha,Dist Sha,Extended Sha,Component,Status,Timestamp,Packages\n"


class Stage:
    """One DLRN's database and tree.

    :param root: folder with the database, ``data/repos`` below it, and the list of components if it has any.
    :param baseurl: the tree's address.
    """

    def __init__(self, root: Path, baseurl: str) -> None:
        self.data = root / "data"
        self.repos = self.data / "repos"
        self.baseurl = baseurl
        self.components = root / "components"
        self.session = db.getSession(f"sqlite:///{root}/commits.sqlite")

    def init(self, users: dict[str, str]) -> None:
        """Make tables and users; done twice, it changes nothing."""
        # Readers of the API and a builder that writes get along in this mode.
        self.session.execute("PRAGMA journal_mode=WAL")
        for name, password in users.items():
            if self.session.query(db.User).get(name) is None:
                hashed = sha512_crypt.using(rounds=ROUNDS).hash(password)
                self.session.add(db.User(username=name, password=hashed))
        self.session.commit()

    def build(
        self,
        *,
        name: str,
        when: int,
        project: str,
        extended: str | None,
        failed: bool,
        component: str | None = None,
    ) -> dict[str, Any]:
        """Add what one run of the builder leaves behind.

        A build that failed moves no link. After one that did not, ``current`` names it, and
        ``consistent`` as well when no package's newest build failed (DLRN's ``process_build_result``); of a
        component's builds, no package's of that component.
        """
        commit = db.Commit(
            type="rpm",
            dt_commit=when - 900,
            dt_distro=when - 86400,
            dt_extended=0,
            dt_build=when,
            project_name=project,
            repo_dir=f"/srv/{project}",
            distgit_dir=f"/srv/{project}_distro",
            commit_hash=sha1(name, "commit"),
            distro_hash=sha1(name, "distro"),
            extended_hash=extended,
            commit_branch="master",
            status="FAILED" if failed else "SUCCESS",
            component=component,
            notes="OK" if not failed else "rpmbuild failed",
            flags=0,
        )
        aggregates: dict[str, str] = {}
        folder = self.repos / commit.getshardedcommitdir()
        folder.mkdir(parents=True)
        rpm = f"{project}-1.0-0.{when}.{commit.commit_hash[:7]}.el7.noarch.rpm"
        commit.artifacts = "" if failed else f"repos/{commit.getshardedcommitdir()}/{rpm}"
        self.session.add(commit)
        self.session.flush()
        (folder / "rpmbuild.log").write_text(f"Building {project}: {commit.status}\n")
        every = self._newest()
        newest = [other for other in every if other.component == component]
        self._write(self.repos / "status_report.csv", STATUS_HEAD + "".join(map(status_line, every)))
        utils.saveYAML_commit(commit, str(folder / "commit.yaml"))
        if not failed:
            (folder / rpm).touch()
            (folder / "versions.csv").write_text(VERSIONS_HEAD + "".join(map(self._version_line, newest)))
            (folder / "delorean.repo").write_text(
                f"[{section(component)}]\nname=delorean-{project}-{commit.commit_hash}\n"
                f"baseurl={self.baseurl}/{commit.getshardedcommitdir()}\nenabled=1\ngpgcheck=0\npriority=1\n"
            )
            consistent = all(other.status == "SUCCESS" for other in newest)
            labels = ["current", "consistent"] if consistent else ["current"]
            self.session.commit()
            for label in labels:
                self._link(label, commit)
            aggregates = {label: self._aggregate(label) for label in labels} if component else {}
            if consistent:
                self.session.add(
                    db.CIVote(
                        commit_id=commit.id,
                        ci_name="consistent",
                        ci_url="",
                        ci_vote=True,
                        ci_in_progress=False,
                        timestamp=when,
                        notes="",
                        component=component,
                    )
                )
        self.session.commit()
        made = {
            "commit_hash": commit.commit_hash,
            "distro_hash": commit.distro_hash,
            "extended_hash": extended,
            "component": component,
        }
        return {"build": made, "aggregate": aggregates.get("consistent")}

    def promotion(
        self,
        *,
        builds: list[dict[str, str | None]],
        label: str,
        when: int,
        user: str,
        aggregate: str | None = None,
    ) -> str | None:
        """Add a promotion of the past, which the API could not: it always writes its own time.

        :param builds: one, or one a component; as in DLRN, the last row has the aggregate that they make.
        :param aggregate: what the row says of that where there are no components.
        """
        for build in builds:
            commit = self._commit(build)
            self._link(label, commit)
            row = db.Promotion(
                commit_id=commit.id,
                promotion_name=label,
                timestamp=when,
                user=user,
                component=build["component"],
            )
            self.session.add(row)
            self.session.flush()
        if commit.component is not None:
            aggregate = self._aggregate(label)
        row.aggregate_hash = aggregate
        self.session.commit()
        return aggregate

    def vote(self, *, build: dict[str, str | None], job: str, success: bool, url: str, when: int) -> None:
        """Add a vote of the past, as the API would; its logins make a week of votes take seconds."""
        commit = self._commit(build)
        self.session.add(
            db.CIVote(
                commit_id=commit.id,
                ci_name=job,
                ci_url=url,
                ci_vote=success,
                ci_in_progress=False,
                timestamp=when,
                notes="",
                user="ci",
                component=commit.component,
            )
        )

    def purge(self, *, build: dict[str, str | None], flagged: bool) -> None:
        """Remove a build's directory, as ``dlrn-purge`` does; unflagged, as a disk that lost it would."""
        commit = self._commit(build)
        shutil.rmtree(self.repos / commit.getshardedcommitdir())
        if flagged:
            commit.flags |= FLAG_PURGED
        self.session.commit()

    def _commit(self, build: dict[str, str | None]) -> Any:
        return (
            self.session.query(db.Commit)
            .filter_by(
                commit_hash=build["commit_hash"],
                distro_hash=build["distro_hash"],
                extended_hash=build["extended_hash"],
            )
            .one()
        )

    def _newest(self) -> list[Any]:
        """Return the newest commit of each package."""
        newest = {}
        for commit in self.session.query(db.Commit).order_by(db.Commit.id):
            newest[commit.project_name] = commit
        return [newest[name] for name in sorted(newest)]

    def _version_line(self, last: Any) -> str:
        """Return a package's line: its newest good build, with the status of its newest build."""
        good = last
        if last.status != "SUCCESS":
            good = (
                self.session.query(db.Commit)
                .filter_by(project_name=last.project_name, status="SUCCESS")
                .order_by(db.Commit.id.desc())
                .first()
            ) or last
        rpm = Path(good.artifacts or "").name.removesuffix(".noarch.rpm")
        source = f"https://git.example.org/openstack/{last.project_name}"
        return (
            f"{last.project_name},{source},{good.commit_hash},{source}-distgit,{good.distro_hash},"
            f"{last.status},{good.dt_build},{good.component},{good.extended_hash},{rpm}\n"
        )

    def _link(self, label: str, commit: Any) -> None:
        # As the builder does, not as the API does: readers never find it missing.
        folder = self.repos / "component" / commit.component if commit.component else self.repos
        fresh = folder / f"{label}_"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to((self.repos / commit.getshardedcommitdir()).relative_to(folder))
        fresh.rename(folder / label)

    def _aggregate(self, label: str) -> str:
        """Put the components' repositories under a label together, with DLRN's own code; return the hash."""
        packages = [{"component": component} for component in self.components.read_text().split()]
        made: str = utils.aggregate_repo_files(
            label, str(self.data), self.session, "delorean", packages, hashed_dir=True
        )
        return made

    @staticmethod
    def _write(file: Path, text: str) -> None:
        fresh = file.with_name(file.name + "_")
        fresh.write_text(text)
        fresh.rename(file)


def section(component: str | None) -> str:
    """Return the name of a build's section in its ``delorean.repo``."""
    return f"delorean-component-{component}" if component else "delorean"


def status_line(commit: Any) -> str:
    """Return a package's line of ``status_report.csv``."""
    return (
        f"{commit.project_name},{commit.commit_hash},{commit.distro_hash},{commit.extended_hash},"
        f"{commit.component},{commit.status},{commit.dt_build},{(commit.artifacts or '').replace(',', '|')}\n"
    )


def sha1(*words: str) -> str:
    """Return a hash that looks like git's."""
    return hashlib.sha1("/".join(words).encode()).hexdigest()


def main() -> None:
    """Carry out the steps on stdin."""
    # DLRN's libraries print at import and at work; stdout is for the answer alone.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.load(sys.stdin)
    stage = Stage(Path(order["root"]), order["baseurl"])
    ops: dict[str, Callable[..., object]] = {
        "init": stage.init,
        "build": stage.build,
        "promotion": stage.promotion,
        "vote": stage.vote,
        "purge": stage.purge,
    }
    made = [ops[step.pop("op")](**step) for step in order["steps"]]
    stage.session.commit()
    db.closeSession(stage.session)
    json.dump(made, answer)
    answer.close()


if __name__ == "__main__":
    main()
