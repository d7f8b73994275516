from collections import Counter
from pathlib import Path

import pytest

from percorso_services.commands.demo import running_installation
from percorso_services.demo_outcome import Outcome, add_person
from percorso_services.demo_walk import Pace, Walked, Walker, cast
from percorso_shared.cannot_run import CannotRun


def walker(fate: str, consent: bool = True) -> Walker:
    return next(one for one in cast(200, 7) if one.fate == fate and one.consent is consent)


def test_two_in_five_confirm_soon_and_three_in_ten_late() -> None:
    assert Counter(one.fate for one in cast(200, 1)) == {"soon": 80, "late": 60, "never": 60}
    assert len(cast(1, 1)) == 1


def test_nobody_is_cast_twice() -> None:
    people = cast(200, 1) + cast(200, 2)
    assert len({one.email for one in people}) == len({one.anonymous_id for one in people}) == 400


def person(*templates: str, ended_as: str | None = None) -> dict[str, object]:
    return {"journeys": [{"journey": "demo-registration", "state": "ended", "ended_reason": "exit" if ended_as else
                          "finished", "ended_as": ended_as}],
            "messages": [{"template": name, "state": "sent", "reason": None} for name in templates]}


REMINDER, BENEFITS = "registration/confirm-link", "registration/benefits"


@pytest.mark.parametrize(("confirmed_after", "consent", "mails", "surprised"), [
    (10, True, (), False),
    (10, True, (REMINDER,), True),
    (21, True, (), False),
    (21, True, (REMINDER,), False),
    (21, True, (REMINDER, REMINDER), True),
    (40, True, (REMINDER,), False),
    (24, True, (), False),
    (40, True, (), True),
    (18, True, (REMINDER,), False),
    (None, True, (REMINDER, BENEFITS), False),
    (None, True, (REMINDER,), True),
    (None, False, (REMINDER,), False),
    (None, False, (REMINDER, BENEFITS), True)])
def test_a_mail_too_many_or_too_few_is_noticed(confirmed_after: float | None, consent: bool, mails: tuple[str, ...],
                                               surprised: bool) -> None:
    outcome = Outcome()
    walked = Walked(walker("late", consent), confirmed_after and (confirmed_after, confirmed_after + 1.0))
    add_person(outcome, walked, Pace(), person(*mails, ended_as="confirmed" if confirmed_after else None))
    assert bool(outcome.surprises) is surprised
    assert outcome.settled


def test_without_a_running_percorso_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="make up"):
        running_installation(tmp_path)
