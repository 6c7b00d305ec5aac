"""Which build tells most: adaptive group testing over the factors in which two hosts differ.

Rules:

- A total function: any inquiry has a next step, and it asks for no build beyond the budget.
- Both sides are built again first. Where neither repeats its bytes there is nothing to attribute: that is chance.
- A factor is named for two builds that differ in it alone and have other bytes, found by halving (so a build clears
  about half of what is suspected): where bytes repeat, no innocent factor is ever named.
- What was found is looked at from both ends: it alone must make the other host's bytes, and without it the rest must
  make the reference's. What fails that leads to the next factor; so factors that act only together are found, too.
- Where a set of factors gave two results it is flaky: bytes then only count as "the reference's or not", and "not
  guilty" takes ``repeats`` builds. A factor that shows in a share p of the builds is missed with (1 - p) ** repeats.

The halving is Hwang's generalised binary splitting with the groups that the digests give: since a digest says not only
"guilty" but which of two ends a build is like, both halves are followed with the same builds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from silvermetal_proof.attribution.records import ENVIRONMENT, Ask, Conclusion, Finding, Inquiry, Kind

Set = frozenset[str]
TRIES = 2
"""How often a build that fails is asked for."""
MAX_FLAKY_TOGETHER = 2
"""More than so many that seem to act only together are a difference that shows too seldom, and no finding."""
_NOTHING: Set = frozenset()


class _NeededError(Exception):
    """A value that no build has shown yet."""

    def __init__(self, *sets: Set) -> None:
        self.sets = sets


class _StuckError(Exception):
    """A build that cannot be had."""


def next_step(inquiry: Inquiry) -> Ask | Conclusion:
    """The builds that are needed next, or what all builds together say."""
    search = _Search(inquiry)
    try:
        return search.conclude()
    except _NeededError as needed:
        if inquiry.left:
            return Ask(builds=tuple(search.ordered(s) for s in needed.sets[: inquiry.left]))
        return search.so_far(f"the budget of {inquiry.question.budget} builds is spent")
    except _StuckError as stuck:
        return search.so_far(str(stuck))


def stopped(inquiry: Inquiry, why: str) -> Conclusion:
    """What the builds say when no more of them can be had, for a reason from outside."""
    step = next_step(inquiry)
    return step if isinstance(step, Conclusion) else _replayed(inquiry).so_far(why)


def _replayed(inquiry: Inquiry) -> _Search:
    search = _Search(inquiry)
    with contextlib.suppress(_NeededError, _StuckError):
        search.conclude()
    return search


class _Search:
    """One replay of an inquiry: it runs until it needs a build that was not made."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.inquiry = inquiry
        self.question = inquiry.question
        self.all = frozenset(self.question.factors)
        self.digests: dict[Set, list[str]] = {}
        self.failures: dict[Set, list[str]] = {}
        for factors, digest in ((_NOTHING, self.question.digests[0]), (self.all, self.question.digests[1])):
            self.digests.setdefault(factors, []).append(digest)
        for tried in inquiry.tried:
            known, value = (
                (self.failures, tried.problem or "it failed") if tried.digest is None else (self.digests, tried.digest)
            )
            known.setdefault(frozenset(tried.factors), []).append(value)
        self.flaky = any(len(set(found)) > 1 for found in self.digests.values())
        self.unstable: list[str] = []
        self.turned = False
        self.findings: list[Finding] = []
        self.proven: list[str] = []
        self.neutral: set[str] = set()
        self.explained = False

    # --- what builds have shown -----------------------------------------------------------------------------------

    def ordered(self, factors: Set) -> tuple[str, ...]:
        """The factors in the question's order."""
        return tuple(f for f in self.question.factors if f in factors)

    def _real(self, factors: Set) -> Set:
        """From the sets of the search, which start at the stable side, to those of the builds."""
        return self.all - factors if self.turned else factors

    def _need(self, real: Set) -> _NeededError:
        """:raises _StuckError: where asking once more is of no use."""
        failures = self.failures.get(real, [])
        if len(failures) >= TRIES:
            host = self.question.host_of(real)
            raise _StuckError(f"a build that is needed on {host} failed {len(failures)} times: {failures[-1]}")
        return _NeededError(real)

    def value(self, factors: Set) -> str:
        """What this build shows: its digest or, of flaky ones, whether it is the reference's."""
        real = self._real(factors)
        found = self.digests.get(real, [])
        if not self.flaky:
            if found:
                return found[0]
            raise self._need(real)
        base = self.digests[self._real(_NOTHING)][0]
        if any(digest != base for digest in found):
            return "changed"
        if len(found) >= self.question.repeats:
            return base
        raise self._need(real)

    def _same(self, a: Set, b: Set) -> bool:
        return self.value(a) == self.value(b)

    # --- the search -----------------------------------------------------------------------------------------------

    def conclude(self) -> Conclusion:
        """Search to the end. :raises _NeededError: with the builds that it takes."""
        if not self._some_side_is_stable():
            return self._end(Kind.NONDETERMINISM)
        rest = self.all
        while not self._same(rest, _NOTHING):
            found = self._explain(rest)
            self.explained = True
            self._tell_apart(found)
            rest -= found
        named = {f for finding in self.findings for f in finding.factors}
        if not named:
            # Both sides repeat themselves now, and alike: the first difference came once and not again.
            return self._end(Kind.NONDETERMINISM)
        return self._end(self._kind(), cleared=self.ordered(self.all - named))

    def _some_side_is_stable(self) -> bool:
        """Build each side again until it is known whether it repeats itself; start from one that does."""
        sides = tuple(dict.fromkeys((_NOTHING, self.all)))
        unstable = [side for side in sides if len(set(self.digests[side])) > 1]
        self.unstable = [self.question.host_of(side) for side in unstable]
        needed: dict[str, Set] = {}
        for side in sides:
            if side not in unstable and len(self.digests[side]) <= self.question.repeats:
                needed.setdefault(self.question.host_of(side), *self._need(side).sets)
        if needed:
            raise _NeededError(*needed.values())
        self.turned = _NOTHING in unstable
        return len(unstable) < len(sides)

    def _explain(self, rest: Set) -> Set:
        """Factors of ``rest`` that by themselves do what all of it does."""
        found: Set = _NOTHING
        while not self._same(found, rest):
            found |= self._changes(found, rest)
        if self.flaky:
            for factor in self.ordered(found):
                if len(found) > 1 and self.value(found - {factor}) == "changed":
                    found -= {factor}
            if len(found) > MAX_FLAKY_TOGETHER:
                raise _StuckError("it shows too seldom to be told by so few builds")
        elif found != self.all and len(self.digests[self._real(found)]) < 2:
            # Once more: a flaky factor that passed for a steady one shows here, before anybody is blamed.
            raise self._need(self._real(found))
        return found

    def _changes(self, base: Set, rest: Set) -> Set:
        """Factors of ``rest`` that change the bytes when they are added to ``base``, one after the other."""
        chain = self.ordered(rest - base)
        points = [base | frozenset(chain[:count]) for count in range(len(chain) + 1)]
        return frozenset(self._between(chain, points, 0, len(chain)))

    def _between(self, chain: Sequence[str], points: Sequence[Set], low: int, high: int) -> list[str]:
        """The factors at which the bytes change between two points that have other bytes."""
        if high - low == 1:
            if not self.flaky:
                self.proven.append(chain[low])
            return [chain[low]]
        # The machine is the likeliest of all: it is asked by itself, and first.
        middle = 1 if low == 0 and chain[0] == ENVIRONMENT else (low + high) // 2
        found = []
        for left, right in ((low, middle), (middle, high)):
            if self._same(points[left], points[right]):
                self.neutral.update(chain[left:right])
            else:
                found += self._between(chain, points, left, right)
        return found

    def _tell_apart(self, found: Set) -> None:
        """Which of the factors act by themselves, which only together with another."""
        if self.flaky:
            base = self.digests[self._real(_NOTHING)][0]
            shown = [d != base for real, all_of in self.digests.items() if found <= self._real(real) for d in all_of]
            seen = (sum(shown), len(shown))
            self.findings.append(Finding(factors=self.ordered(found), flaky=True, seen=seen))
            return
        names = self.ordered(found)
        alone = [f for f in names if len(names) == 1 or not self._same(frozenset({f}), _NOTHING)]
        self.findings += [Finding(factors=(f,)) for f in alone]
        for factor in (f for f in names if f not in alone):
            if any(factor in finding.factors for finding in self.findings):
                continue
            partner = next((p for p in names if p != factor and self._act_together(factor, p)), None)
            together = frozenset({factor, partner}) if partner is not None else found
            self.findings.append(Finding(factors=self.ordered(together)))

    def _act_together(self, factor: str, partner: str) -> bool:
        return not self._same(frozenset({factor, partner}), frozenset({partner}))

    # --- the end --------------------------------------------------------------------------------------------------

    def _kind(self) -> Kind:
        named = {f for finding in self.findings for f in finding.factors} | set(self.proven)
        if not named:
            return Kind.OPEN
        if named == {ENVIRONMENT}:
            return Kind.ENVIRONMENT
        return Kind.BOTH if ENVIRONMENT in named else Kind.FACTORS

    def _end(
        self, kind: Kind, *, cleared: tuple[str, ...] = (), suspects: tuple[str, ...] = (), why: str = ""
    ) -> Conclusion:
        return Conclusion(
            kind=kind,
            findings=tuple(self.findings),
            suspects=suspects,
            cleared=cleared,
            unstable=tuple(dict.fromkeys(self.unstable)),
            why=why[:2048],
            builds=len(self.inquiry.tried),
            seconds=sum(t.seconds for t in self.inquiry.tried),
        )

    def so_far(self, why: str) -> Conclusion:
        """What is known where the search cannot go on."""
        named = {f for finding in self.findings for f in finding.factors}
        self.findings += [Finding(factors=(f,)) for f in dict.fromkeys(self.proven) if f not in named]
        named |= set(self.proven)
        if self.explained:
            return self._end(self._kind(), why=why)
        suspects = self.ordered(self.all - named - self.neutral)
        return self._end(Kind.OPEN, suspects=suspects, why=why)
