"""The people of the store that forgets: found by id, by name whatever its case, or by subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.engine.accounts import folded
from antiphon.people import Account, Act, Person
from antiphon.ports import Amend
from antiphon.stores import rules
from antiphon.stores.memory.owners import Acts, Keys


class People:
    """Accounts by the id of their person, oldest first."""

    def __init__(self, acts: Acts, keys: Keys) -> None:
        self._acts = acts
        self._keys = keys
        self._accounts: dict[str, Account] = {}

    def add(self, account: Account, act: Act | None) -> None:
        """See `Store.add_person`."""
        if account.person.id in self._accounts:
            raise rules.taken(Person, account.person.id)
        self._refuse_twin(account.person)
        self._accounts[account.person.id] = account
        self._acts.note(act)

    def find(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """See `Store.find_person`."""
        if id is not None:
            return self._accounts.get(id)
        if name is not None:
            return self._first(lambda person: folded(person.name) == folded(name))
        return self._first(lambda person: subject is not None and person.subject == subject)

    def everybody(self) -> Sequence[Person]:
        """See `Store.people`."""
        return [account.person for account in self._accounts.values()]

    def change(self, person_id: str, amend: Amend, act: Act | None, now: int) -> Account | None:
        """See `Store.change_person`."""
        account = self._accounts.get(person_id)
        if account is None:
            raise rules.missing(Person, person_id)
        others = self._first(lambda person: person.governs and person.id != person_id)
        changed = amend(account, others is not None)
        if changed == account:
            return changed
        if changed is None:
            del self._accounts[person_id]
        else:
            self._refuse_twin(changed.person)
            self._accounts[person_id] = changed
        if changed is None or changed.person.disabled:
            self._keys.revoke_of(person_id, now)
        self._acts.note(act)
        return changed

    def _first(self, fits: Callable[[Person], bool]) -> Account | None:
        return next((each for each in self._accounts.values() if fits(each.person)), None)

    def _refuse_twin(self, person: Person) -> None:
        for named in (self.find(name=person.name), self.find(subject=person.subject)):
            if named is not None and named.person.id != person.id:
                raise rules.name_taken(person)
