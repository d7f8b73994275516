"""Whose a shared device is, and when."""

from percorso_identity.slices import Interval, Slice, cut, differences, owner_at

TAB, KEVIN, NORA = b"t" * 16, b"k" * 16, b"n" * 16


def owners(logins, logouts=(), shared="slice", at=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)):
    slices = cut(TAB, logins, logouts, shared)
    return [owner_at(slices, time) for time in at]


def test_a_touchpoint_belongs_to_the_login_before_it_and_before_any_login_to_the_first():
    assert owners([(2, KEVIN), (5, NORA)]) == [KEVIN] * 5 + [NORA] * 5


def test_after_a_logout_it_belongs_to_the_next_login():
    assert owners([(2, KEVIN), (6, NORA)], [3]) == [KEVIN] * 4 + [NORA] * 6


def test_after_the_last_logout_the_device_is_its_own():
    assert owners([(2, KEVIN), (4, NORA)], [6]) == [KEVIN] * 4 + [NORA] * 3 + [TAB] * 3


def test_a_logout_before_any_login_changes_nothing():
    assert owners([(2, KEVIN), (5, NORA)], [1]) == owners([(2, KEVIN), (5, NORA)])


def test_the_other_options_know_one_owner_for_all_time():
    logins = [(2, KEVIN), (5, NORA)]
    assert cut(TAB, logins, [], "first") == [Slice(None, KEVIN)]
    assert cut(TAB, logins, [], "last") == [Slice(None, NORA)]
    assert cut(TAB, logins, [], "ambiguous") == [Slice(None, None)]


def test_the_order_in_which_logins_become_known_does_not_matter():
    logins = [(5, NORA), (2, KEVIN), (5, KEVIN), (2, KEVIN)]
    assert cut(TAB, logins, [7, 3], "slice") == cut(TAB, logins[::-1], [3, 7, 3], "slice")


def test_only_intervals_with_another_owner_are_told():
    before = cut(TAB, [(2, KEVIN), (8, KEVIN)], [], "slice")
    after = cut(TAB, [(2, KEVIN), (5, NORA), (8, KEVIN)], [], "slice")
    assert differences(before, after) == [Interval(5, 8)]
    assert differences([], after) == [Interval(None, None)]
    assert differences(after, []) == [Interval(None, None)]
    assert differences(after, after) == []
