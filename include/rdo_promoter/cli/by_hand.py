"""A promotion by a person, in the ledger like those of Airflow's runs, and out of their way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rdo_promoter.cli.outlook import (
    book,
    find_build,
    heading,
    in_the_way,
    lines,
    look,
    open_services,
    others,
    person,
    unfinished,
)
from rdo_promoter.cli.process import alone, progress, tell, told_to_stop
from rdo_promoter.cli.target import Target
from rdo_promoter.engine.moved import moved_so_far
from rdo_promoter.engine.observe import observe
from rdo_promoter.engine.outlook import Outlook
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import PromoterError, TransientError, said
from rdo_promoter.hooks.recipe import write_recipe
from rdo_promoter.model.clock import utc
from rdo_promoter.model.ledger import BY_HAND, Planned, Promoted, give_up
from rdo_promoter.model.plan import is_untouched
from rdo_promoter.model.promotion import Observed, Promotion
from rdo_promoter.model.promotions import PromotionRow

#: Seconds before what failed for the moment is tried again; the clients have tried four times each time.
PAUSES = (5.0, 15.0, 45.0)

#: Seconds after which a step is begun with a new plan in the ledger: so each step may take as long as
#: Airflow's runs respect a plan, and as a task may take.
RENEWED = 600

_DONE, _REFUSED = 0, 1


class ByHand:
    """One promotion by a person.

    :param target: the stage.
    :param full_hash: the build.
    :param take_over: go on although the ledger shows somebody else's promotion to the label.
    :param pause: waits so many seconds.
    """

    def __init__(
        self, target: Target, *, full_hash: str, take_over: bool, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.target = target
        self.full_hash = full_hash
        self.take_over = take_over
        self.pause = pause
        (self.services,) = open_services([target])
        # Whether things may have changed.
        self._begun = False

    def run(self, *, dry_run: bool) -> int:
        """Promote, or show what would be changed; return the exit code."""
        tell([heading(self.target), ""])
        try:
            with alone(self.target.release.dag_id, self.target.step.label):
                return self._run(dry_run=dry_run)
        except KeyboardInterrupt:
            again = "the same command again shows what has moved, and does what is left"
            tell(["", f"stopped; {again if self._begun else 'nothing was changed'}"])
            return _REFUSED

    def _run(self, *, dry_run: bool) -> int:
        build = find_build(self.target, self.services.dlrn, self.full_hash)
        begun = unfinished(self.target)
        seen = look(self.target, self.services, build)
        tell(lines(self.target, seen))
        theirs = [] if seen.done or self.take_over else others(begun)
        tell(in_the_way(self.target, theirs))
        refused = bool(theirs) or not (seen.ready or seen.done)
        if dry_run:
            tell(["dry run: nothing was changed; add --no-dry-run to promote"])
        if dry_run or refused:
            return _REFUSED if refused else _DONE
        if seen.done:
            self._close(seen, begun)
            return _DONE
        return self._promote(seen, known={plan.suffix for plan in begun})

    def _promote(self, seen: Outlook, known: set[str]) -> int:
        """Change things, from the plan in the ledger to the promotion in the ledger.

        :param known: of the plans that were unfinished before.
        """
        promotion, found = seen.promotion, seen.found
        assert found is not None, "a promotion that was not looked at is refused"
        plan = Planned(
            **self._facts(promotion),
            was=found.was,
            summary=found.plan.summary(),
            wanted=write_recipe(promotion, self.services),
        )
        plans = [plan]

        def say(line: str) -> None:
            progress(line)
            if (now := self.services.dlrn.now()) - plans[-1].at >= RENEWED:
                plans.append(replace(plan, at=now))
                book().append(plans[-1])

        def everything() -> None:
            self._promoted(promotion, *carry_out(promotion, self.services, found.was, say=say))

        with told_to_stop():
            try:
                if late := self._plan(plan, known):
                    tell(in_the_way(self.target, late))
                    return _REFUSED
                progress(f"planned by {person()}; from here on things change")
                self._again(everything)
            except (PromoterError, KeyboardInterrupt) as error:
                if not self._begun:
                    raise
                why = said(error) if isinstance(error, PromoterError) else "stopped by Ctrl-C"
                tell(["", f"not complete: {why}", *self._left(seen, plans)])
                return _REFUSED
            except Exception:
                tell(["", "not complete: a mistake of this program, shown below", *self._left(seen, plans)])
                raise
        progress(f"done: {promotion.label} names {promotion.build.full_hash} everywhere")
        return _DONE

    def _plan(self, plan: Planned, known: set[str]) -> list[Planned]:
        """Write the plan down; return those of others that came in between, and give ours up then.

        Somebody who planned at the same moment sees this plan, or is seen here; or each sees the other.
        """
        try:
            book().append(plan)
            late = [each for each in others(unfinished(self.target)) if each.suffix not in known]
            self._begun = not late
        finally:
            # Nothing was changed yet. A plan without an end would keep Airflow's runs waiting.
            if not self._begun:
                reason = "nothing was changed: it was stopped, or somebody else planned at the same moment"
                book().append(give_up(plan, reason, at=plan.at, by=person(), via="command line"))
        return late

    def _promoted(self, promotion: Promotion, row: PromotionRow, observed: Observed) -> None:
        previous = observed.dlrn.previous
        book().append(
            Promoted(
                **self._facts(promotion),
                previous=previous.build if previous else None,
                timestamp=row.timestamp,
            )
        )

    def _close(self, seen: Outlook, begun: Sequence[Planned]) -> None:
        """Write down a promotion that was carried out by somebody who could not do so any more."""
        promotion = seen.promotion
        if any(plan.build == promotion.build for plan in begun):
            observed = observe(promotion, self.services, checksums=False)
            holder = observed.dlrn.holder
            if holder is not None and holder.build == promotion.build:
                self._promoted(promotion, holder, observed)
                progress("its plan in the ledger had no end: it has one now")

    def _facts(self, promotion: Promotion) -> dict[str, Any]:
        release = self.target.release
        return {
            "dag_id": release.dag_id,
            "label": promotion.label,
            "build": promotion.build,
            "at": self.services.dlrn.now(),
            "by": person(),
            "via": "command line",
            "file": release.file,
            "digest": release.digest,
        }

    def _again(self, act: Callable[[], None]) -> None:
        """Do something, and again a few times when it fails for the moment."""
        for number, seconds in enumerate(PAUSES, start=1):
            try:
                act()
                return
            except TransientError as error:
                progress(f"{error}; trying again in {seconds:.0f} s ({number} of {len(PAUSES)})")
                self.pause(seconds)
        act()

    def _left(self, seen: Outlook, plans: Sequence[Planned]) -> Iterator[str]:
        """Say what has moved, and how to go on; give up plans of which nothing is in place yet.

        :param plans: what this command has written into the ledger.
        """
        promotion, untouched = seen.promotion, False
        try:
            observed = observe(promotion, self.services, checksums=False)
        except (PromoterError, KeyboardInterrupt) as error:
            yield f"What has moved cannot be read at the moment: {error or 'stopped'}"
        else:
            holder = observed.dlrn.holder
            names = holder.build.full_hash if holder else "nothing"
            yield f"DLRN's {promotion.label} names {names}. Moved to {promotion.build.full_hash} are:"
            moved = moved_so_far(promotion, observed)
            yield from (f"  - {line}" for line in moved or ("nothing else",))
            # What an earlier command has moved is this promotion's, too.
            named = bool(moved) or (holder is not None and holder.build == promotion.build)
            untouched = not named and is_untouched(seen.plan, promotion, observed)
        until = utc(plans[-1].at + BY_HAND)
        kept = f"Airflow's runs leave {promotion.label} alone until {until}, or until it is promoted."
        if not untouched:
            yield f"Something was copied or moved, or that cannot be told. {kept}"
        elif refused := self._give_up(plans):
            yield f"Nothing was copied or moved, but that cannot be written down: {refused}. {kept}"
        else:
            yield "Nothing was copied or moved, so the plan is given up: it keeps nobody waiting."
        yield "The same command again does what is left; what is in place is not done twice."

    def _give_up(self, plans: Sequence[Planned]) -> PromoterError | None:
        """End plans in the ledger without a promotion; return why that cannot be done."""
        reason = "nothing was copied or moved before it failed or was stopped"
        try:
            now = self.services.dlrn.now()
            for plan in plans:
                book().append(give_up(plan, reason, at=now, by=person(), via="command line"))
        except PromoterError as error:
            return error
        return None
