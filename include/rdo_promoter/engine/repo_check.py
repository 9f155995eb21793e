"""Is a build what people install who follow a label? Changes nothing."""

from __future__ import annotations

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError, SupersededError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.repo_file import RepoFile


def check_repo(dlrn: DlrnClient, label: str, build: DlrnHash) -> RepoFile:
    """Fetch a label's ``delorean.repo`` and make sure that it is the build's.

    While DLRN moves a label its link is missing for a moment, and its row comes after it: what is not as it
    has to be is believed only after some looks.

    :param label: the label.
    :param build: the build that it has to be.
    :raises SupersededError: when the label names another build by now, in the tree and in DLRN's rows.
    :raises AnswerError: when the tree does not say so, and the rows do not explain it.
    """
    problem = ""
    for found in dlrn.repo_files(label):
        if found is not None and not found.torn and found.builds == (build.full_hash,):
            return found
        row = dlrn.current(label)
        holder = row.build.full_hash if row else None
        if found is not None and not found.torn and holder is not None and found.builds == (holder,):
            raise SupersededError(f"{label} names {holder} by now", by=holder)
        problem = _problem(found, label, dlrn.repo_url)
    raise AnswerError(
        f"{problem}, DLRN's newest promotion to {label} names {holder or 'nothing'}, and this run carries "
        f"{build.full_hash}; have DLRN's administrators look at the label, or promote to {label} again"
    )


def _problem(found: RepoFile | None, label: str, repo_url: str) -> str:
    if found is None:
        return f"{repo_url}/{label}/delorean.repo does not exist"
    if found.torn:
        return f"{found.address} has md5 {found.md5}, and the one beside it is {found.declared}"
    return f"{found.address} names {found.names}"
