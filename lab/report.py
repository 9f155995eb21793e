"""What the lab tells people about itself; never a secret, only the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator

from lab.dlrn import tree_folder
from lab.lab import Lab
from lab.service import LabError
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.dlrn_answers import commit_yaml
from rdo_promoter.errors import PromoterError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.verdict import Criteria, JobState, judge


def find_build(client: DlrnClient, lab: Lab, text: str) -> DlrnHash:
    """Return the build that a label, a full hash or the beginning of one names.

    :raises LabError: when nothing has that name, or more than one build.
    """
    tree = tree_folder(lab.root)
    if (tree / text).is_symlink() and (labelled := client.label_hash(text)):
        return labelled
    known = {folder.name: folder for folder in tree.glob("??/??/*")}
    found = [name for name in known if name.startswith(text)]
    if len(found) != 1:
        what = f"{len(found)} builds begin" if found else "no build begins"
        names = "\n".join(f"  {name}" for name in (found or known))
        raise LabError(f"{what} with {text!r}, nor is it a label; there are\n{names}")
    file = known[found[0]] / "commit.yaml"
    return commit_yaml(file.read_text(), str(file))


def status_lines(lab: Lab) -> tuple[list[str], bool]:
    """Return the lines of the status, and whether everything runs and nothing is broken.

    :raises LabError: when there is no lab.
    """
    lab.check_exists()
    states = lab.status()
    lines = [f"lab in {lab.root}", "", f"{'service':<20} {'port':>5} {'pid':>7}  state"]
    for state in states:
        word = "up" if state.up else ("starting" if state.pid else "down")
        word = f"broken: {state.broken}" if state.broken else word
        lines.append(f"{state.name:<20} {state.port:>5} {state.pid or '-':>7}  {word}")
    lines += ["", *_addresses(lab)]
    well = all(state.up and not state.broken for state in states)
    # Of a DLRN that is broken nobody wants to hear after many tries.
    if all(state.up and not state.broken for state in states if state.name.startswith("dlrn-")):
        try:
            with lab.dlrn_client() as client:
                lines += ["", *_labels_lines(client, lab), "", *_vote_lines(client, lab)]
        except PromoterError as error:
            lines += ["", f"DLRN does not tell: {error}"]
            return lines, False
    return lines, well


def _addresses(lab: Lab) -> Iterator[str]:
    facts = lab.dlrn
    yield f"DLRN API      {facts.api_url}"
    users = ", ".join((facts.username, facts.ci_username, facts.reader_username))
    yield f"  logins      {users}: {lab.root / 'dlrn' / 'secrets.json'}"
    yield f"repositories  {facts.repo_url}"
    for registry in lab.registries:
        yield f"registry      {registry.url} ({registry.name})"
        if issuer := registry.issuer:
            yield f"  tokens      {issuer.realm}: {issuer.folder / 'accounts'}"
        elif registry.username:
            yield f"  login       {registry.username}: {registry.folder / 'password'}"
        if registry.ca:
            yield f"  CA          {registry.ca}"
    for name, server, folder in (
        ("images", lab.images, lab.image_folder),
        ("mirror rh1", lab.mirror, lab.mirror_folder),
    ):
        yield f"{name:<13} sftp://{server.username}@{server.host}:{server.port}{folder}"
        yield f"  key         {server.key_file}"
    yield f"releases      {lab.releases}"


def _labels(lab: Lab) -> tuple[str, ...]:
    release = lab.release
    return ("current", "consistent", release.candidate, release.promoted, f"previous-{release.promoted}")


def _labels_lines(client: DlrnClient, lab: Lab) -> Iterator[str]:
    for label in _labels(lab):
        build = client.label_hash(label)
        yield f"{label:<25} {build or '-'}"


def _vote_lines(client: DlrnClient, lab: Lab) -> Iterator[str]:
    row = client.current(lab.release.candidate)
    if row is None:
        yield f"{lab.release.candidate} has never been promoted to"
        return
    verdict = judge(Criteria(tuple(job.name for job in lab.release.jobs)), client.votes(row.build))
    counts = [f"{len(verdict.in_state(state))} {state}" for state in JobState if verdict.in_state(state)]
    yield f"votes on {lab.release.candidate}, {row.build}: {', '.join(counts)}"
    for result in verdict.in_state(JobState.FAILED):
        yield f"  {result}"
