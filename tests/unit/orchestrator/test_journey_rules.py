"""The semantics of journeys, sentence by sentence, on the virtual clock."""

from journey_on_paper import plays

WAIT_AND_SEND = """
policy: free
entry: {event: begin, key: event.k}
exit: [{event: leave, match: k, as: left}]
steps:
  - {id: w, wait: {for: 2h}}
  - {id: m, send: email, template: t}
"""


def test_s_m_h_are_elapsed_time():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps: [{id: w, wait: {for: 24h}}, {id: m, send: email, template: t}]
        """, """
        person: {tz: Europe/Rome}
        events: [{t: d26 12:00, type: begin}]
        expect: [d27 13:00 m]
        """) == []


def test_d_w_are_calendar_days_on_the_persons_wall_clock():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps: [{id: w, wait: {for: 1d}}, {id: m, send: email, template: t}]
        """, """
        person: {tz: Europe/Rome}
        events: [{t: d26 12:00, type: begin}]
        expect: [d27 12:00 m]
        """) == []


def test_a_local_time_that_does_not_exist_moves_forward():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps: [{id: w, wait: {for: 1d}}, {id: m, send: email, template: t}]
        """, """
        person: {tz: Europe/Rome}
        events: [{t: d26 02:30, type: begin}]
        expect: [d27 03:00 m]
        """) == []


def test_an_event_exactly_at_the_deadline_is_too_late_the_deadline_wins():
    assert plays(WAIT_AND_SEND, """
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 12:00, type: leave, k: a}]
        expect: [d0 12:00 m]
        """) == []


def test_until_is_half_open_too():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - id: w
            wait:
              for: 2h
              until: [{event: go, then: [{id: in_time, send: email, template: t}]}]
              timeout: [{id: too_late, send: email, template: t}]
        """, """
        events: [{t: d0 10:00, type: begin}, {t: d0 12:00, type: go}]
        expect: [d0 12:00 too_late]
        """) == []


def test_inside_one_event_exits_come_before_entries():
    assert plays("""
        policy: free
        entry: {event: begin, key: event.k}
        exit: [{event: begin, match: k, as: again}]
        steps: [{id: w, wait: {for: 2h}}, {id: m, send: email, template: t}]
        """, """
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 11:00, type: begin, k: a}]
        expect: [d0 13:00 m]
        """) == []


def test_since_of_a_wait_is_step_unless_it_says_otherwise():
    journey = """
        policy: free
        entry: {event: begin}
        steps:
          - {id: w1, wait: {for: 1h}}
          - id: w2
            wait: {for: 1h, SINCE until: [{event: go, then: [{id: went, send: email, template: t}]}]}
        """
    events = "events: [{t: d0 10:00, type: begin}, {t: d0 10:30, type: go}]\n"
    assert plays(journey.replace("SINCE", ""), events + "expect: []") == []
    assert plays(journey.replace("SINCE", "since: entry,"), events + "expect: [d0 11:00 went]") == []


def test_since_ever_looks_at_the_whole_history_and_ends_on_arrival():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - id: w
            wait: {for: 1h, since: ever, until: [{event: go, then: [{id: went, send: email, template: t}]}]}
        """, """
        events: [{t: d0 08:00, type: go}, {t: d0 10:00, type: begin}]
        expect: [d0 10:00 went]
        """) == []


def test_of_several_fulfilled_the_earliest_event_wins():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: w1, wait: {for: 1h}}
          - id: w2
            wait:
              for: 1h
              since: entry
              until:
                - {event: a, then: [{id: by_a, send: email, template: t}]}
                - {event: b, then: [{id: by_b, send: email, template: t}]}
        """, """
        events: [{t: d0 10:00, type: begin}, {t: d0 10:20, type: b}, {t: d0 10:40, type: a}]
        expect: [d0 11:00 by_b]
        """) == []


def test_the_entry_event_itself_never_counts():
    assert plays("""
        policy: free
        entry: {event: begin}
        exit: [{event: begin, as: again}]
        steps:
          - id: w
            wait: {for: 1h, since: ever, until: [{event: begin, then: [{id: at_once, send: email, template: t}]}]}
          - {id: m, send: email, template: t}
        """, """
        events: [{t: d0 10:00, type: begin}]
        expect: [d0 11:00 m]
        """) == []


def test_a_late_entry_event_lets_its_waits_count_from_its_event_time():
    assert plays(WAIT_AND_SEND, """
        events: [{t: d0 10:00, arrives: d0 15:00, type: begin, k: a}]
        expect: [d0 12:00 m]
        """) == []


def test_an_exit_that_arrived_before_its_late_entry_still_ends_the_run():
    assert plays(WAIT_AND_SEND, """
        events: [{t: d0 11:00, type: leave, k: a}, {t: d0 10:00, arrives: d0 15:00, type: begin, k: a}]
        expect: []
        ends: exit left
        """) == []


def test_a_held_step_keeps_the_run_there_and_later_waits_count_from_the_real_send():
    assert plays("""
        policy: quiet
        entry: {event: begin}
        steps: [{id: m1, send: email, template: t}, {id: w, wait: {for: 1h}}, {id: m2, send: email, template: t}]
        """, """
        events: [{t: d0 22:00, type: begin}]
        expect: [d1 08:00 m1, d1 09:00 m2]
        """) == []


def test_a_wait_after_a_timer_counts_from_the_due_instant():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps: [{id: w1, wait: {for: 1h}}, {id: w2, wait: {for: 1h}}, {id: m, send: email, template: t}]
        """, """
        lateness: 10m
        events: [{t: d0 10:00, type: begin}]
        expect: [d0 12:00 m]
        """) == []


def test_gates_stand_in_their_order_consent_before_hold():
    assert plays("""
        policy: all
        entry: {event: begin}
        steps: [{id: m, send: email, template: t}]
        """, """
        events: [{t: d0 22:00, type: ticket_opened, ticket: a}, {t: d0 23:00, type: begin}]
        expect: []
        skipped: [m consent]
        """) == []


def test_gates_are_judged_again_after_every_hold():
    assert plays("""
        policy: all
        entry: {event: begin}
        steps: [{id: m, send: email, template: t}]
        """, """
        person: {consent: [marketing]}
        events:
          - {t: d0 09:00, type: ticket_opened, ticket: a}
          - {t: d0 10:00, type: begin}
          - {t: d0 23:00, type: ticket_closed, ticket: a}
        expect: [d1 08:00 m]
        """) == []


def test_stale_is_strictly_longer_and_judged_when_the_hold_ends():
    journey = """
        policy: stale
        entry: {event: begin}
        steps: [{id: m, send: email, template: t}]
        """
    events = """
        events:
          - {t: d0 09:00, type: ticket_opened, ticket: a}
          - {t: d0 10:00, type: begin}
          - {t: d1 10:0MINUTE, type: ticket_closed, ticket: a}
        """
    assert plays(journey, events.replace("MINUTE", "0") + "expect: [d1 10:00 m]\n") == []
    assert plays(journey, events.replace("MINUTE", "1") + "expect: []\n        skipped: [m stale]\n") == []


def test_the_next_step_counts_from_the_drop():
    assert plays("""
        policy: stale
        entry: {event: begin}
        steps:
          - {id: m, send: email, template: t}
          - {id: w, wait: {for: 1h}}
          - {id: after, send: email, template: t, policy: free}
        """, """
        events: [{t: d0 09:00, type: ticket_opened, ticket: a}, {t: d0 10:00, type: begin}]
        expect: [d3 10:00 after]
        skipped: [m stale]
        """) == []


def test_a_second_opening_of_an_open_key_changes_nothing_not_even_its_maximum():
    assert plays("""
        policy: held
        entry: {event: begin}
        steps: [{id: m, send: email, template: t}]
        """, """
        events:
          - {t: d0 09:00, type: ticket_opened, ticket: a}
          - {t: d0 10:00, type: begin}
          - {t: d2 09:00, type: ticket_opened, ticket: a}
        expect: [d3 09:00 m]
        """) == []


def test_a_hold_closes_by_its_key_whoevers_event_it_is():
    assert plays("""
        policy: held
        entry: {event: begin}
        steps: [{id: m, send: email, template: t}]
        """, """
        person: {id: p1}
        others: [{id: p2}]
        events:
          - {t: d0 09:00, type: ticket_opened, ticket: a}
          - {t: d0 10:00, type: begin}
          - {t: d0 11:00, type: ticket_closed, ticket: b}
          - {t: d0 12:00, type: ticket_closed, ticket: a, who: p2}
        expect: [d0 12:00 m]
        """) == []


def test_a_hold_opened_by_the_entry_event_holds_at_once():
    assert plays("""
        policy: held
        entry: {event: ticket_opened}
        steps: [{id: m, send: email, template: t}]
        """, """
        events: [{t: d0 09:00, type: ticket_opened, ticket: a}, {t: d0 12:00, type: ticket_closed, ticket: a}]
        expect: [d0 12:00 m]
        """) == []


def test_a_cap_slot_frees_exactly_after_its_time_and_the_longer_held_goes_first():
    assert plays("""
        policy: capped
        entry: {event: begin, key: event.k}
        steps: [{id: m, send: email, template: t, with: {k: run.key}}]
        """, """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 11:00, type: begin, k: b}
          - {t: d0 12:00, type: begin, k: c}
        expect: [d0 10:00 m, d1 10:00 m, d2 10:00 m]
        renders: {m: {k: c}}
        """) == []


def test_a_full_cap_may_skip():
    assert plays("""
        policy: dropped
        entry: {event: begin, key: event.k}
        steps: [{id: m, send: email, template: t}]
        """, """
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 11:00, type: begin, k: b}]
        expect: [d0 10:00 m]
        skipped: [m cap]
        """) == []


def test_quiet_hours_are_judged_on_the_real_clock_and_only_absence_waits_for_lateness():
    assert plays("""
        policy: quiet
        entry: {event: begin}
        steps: [{id: w, wait: {for: 1h}}, {id: m, send: email, template: t}]
        """, """
        lateness: 10m
        events: [{t: d0 19:55, type: begin}]
        expect: [d1 08:00 m]
        """) == []


def test_an_exit_known_before_the_step_is_taken_prevents_it_also_between_deadline_and_lateness():
    assert plays(WAIT_AND_SEND, """
        lateness: 10m
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 12:05, type: leave, k: a}]
        expect: []
        ends: exit left
        """) == []


def test_a_cancelling_touchpoint_inside_the_lateness_cancels_and_after_it_the_match_stands():
    events = "events: [{t: d0 10:00, type: begin, k: a}, {t: d0 11:59, arrives: d0 12:WHEN, type: leave, k: a}]\n"
    assert plays(WAIT_AND_SEND, "lateness: 10m\n" + events.replace("WHEN", "09") + "expect: []") == []
    assert plays(WAIT_AND_SEND, "lateness: 10m\n" + events.replace("WHEN", "10") + "expect: [d0 12:00 m]") == []


def test_only_an_event_that_satisfies_the_correlation_cancels():
    assert plays(WAIT_AND_SEND, """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 10:30, type: begin, k: b}
          - {t: d0 11:00, type: leave, k: b}
          - {t: d0 11:10, type: leave}
        expect: [d0 12:00 m]
        """) == []


def test_one_persons_event_never_touches_anothers_state():
    assert plays(WAIT_AND_SEND, """
        person: {id: p1}
        others: [{id: p2}]
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 11:00, type: leave, k: a, who: p2}]
        expect: [d0 12:00 m]
        """) == []


def test_late_resets_the_latest_event_time_counts_and_a_reset_never_shortens_a_wait():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: w, wait: {for: 2h, reset_on: {event: touch}}}
          - {id: m, send: email, template: t}
        """, """
        events:
          - {t: d0 10:00, type: begin}
          - {t: d0 11:30, type: touch}
          - {t: d0 11:00, arrives: d0 11:40, type: touch}
        expect: [d0 13:30 m]
        """) == []


def test_a_reset_exactly_at_the_deadline_is_too_late():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: w, wait: {for: 2h, reset_on: {event: touch}}}
          - {id: m, send: email, template: t}
        """, """
        lateness: 10m
        events: [{t: d0 10:00, type: begin}, {t: d0 12:00, type: touch}]
        expect: [d0 12:00 m]
        """) == []


def test_touchpoints_about_a_message_match_only_their_own_run():
    journey = """
        policy: free
        entry: {event: begin, key: event.k}
        steps:
          - {id: m, send: email, template: t}
          - id: w
            wait: {for: 2h, until: [{event: email_clicked, ANY then: [{id: thanks, send: email, template: t}]}]}
        """
    events = """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 10:10, type: begin, k: b}
          - {t: d0 10:30, type: email_clicked}
        """
    assert plays(journey.replace("ANY", ""), events + "expect: [d0 10:00 m, d0 10:10 m, d0 10:30 thanks]") == []
    assert plays(journey.replace("ANY", "any_run: true,"),
                 events + "expect: [d0 10:00 m, d0 10:10 m, d0 10:30 thanks, d0 10:30 thanks]") == []


def test_values_count_last_read_this_runs_key_since_its_entry_unless_said_otherwise():
    assert plays("""
        policy: free
        entry: {event: begin, key: event.k}
        steps:
          - {id: w, wait: {for: 1h}}
          - id: m
            send: email
            template: t
            with:
              mine: "count('touch')"
              ever: "count('touch', 'ever')"
              lately: "count('touch', '30m')"
              all: "values('touch', 'n')"
              newest: "last('touch', 'n')"
        """, """
        events:
          - {t: d0 09:00, type: touch, k: a, n: 1}
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 10:10, type: touch, k: a, n: 2}
          - {t: d0 10:30, type: touch, k: a, n: 3}
          - {t: d0 10:40, type: touch, k: b, n: 4}
        expect: [d0 11:00 m]
        renders: {m: {mine: 2, ever: 4, lately: 1, all: [2, 3], newest: 3}}
        """) == []


def test_match_compares_with_the_entry_and_a_missing_property_equals_nothing():
    assert plays("""
        policy: free
        entry: {event: begin}
        exit: [{event: leave, match: k}]
        steps: [{id: w, wait: {for: 2h}}, {id: m, send: email, template: t}]
        """, """
        events: [{t: d0 10:00, type: begin}, {t: d0 11:00, type: leave}]
        expect: [d0 12:00 m]
        """) == []


def test_keep_last_is_the_newest_by_event_time_whether_or_not_it_satisfies_the_entrys_where():
    assert plays("""
        policy: free
        entry: {event: begin, where: "event.n > 0", key: event.k}
        keep: {cart: last begin}
        steps: [{id: w, wait: {for: 2h}}, {id: m, send: email, template: t, with: {n: run.cart.n, first: run.entry.n}}]
        """, """
        events:
          - {t: d0 10:00, type: begin, k: a, n: 1}
          - {t: d0 11:00, type: begin, k: a, n: 0}
          - {t: d0 10:30, arrives: d0 11:30, type: begin, k: a, n: 7}
          - {t: d0 11:40, type: begin, k: b, n: 9}
        horizon: 13h
        expect: [d0 12:00 m]
        renders: {m: {n: 0, first: 1}}
        """) == []


def test_reentry_defaults_to_when_ended():
    assert plays(WAIT_AND_SEND, """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 11:00, type: begin, k: a}
          - {t: d0 13:00, type: begin, k: a}
        expect: [d0 12:00 m, d0 15:00 m]
        """) == []


def test_reentry_never_is_one_run_per_key():
    assert plays(WAIT_AND_SEND.replace("key: event.k}", "key: event.k, reentry: never}"), """
        events: [{t: d0 10:00, type: begin, k: a}, {t: d3 10:00, type: begin, k: a}, {t: d3 11:00, type: begin, k: b}]
        expect: [d0 12:00 m, d3 13:00 m]
        """) == []


def test_cooldown_counts_from_the_previous_runs_entry_and_is_half_open():
    assert plays(WAIT_AND_SEND.replace("key: event.k}", "key: event.k, reentry: cooldown 1d}"), """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d1 09:59, type: begin, k: a}
          - {t: d1 10:00, type: begin, k: a}
        expect: [d0 12:00 m, d1 12:00 m]
        """) == []


def test_restart_ends_the_active_run_and_with_none_active_it_just_starts():
    assert plays(WAIT_AND_SEND.replace("key: event.k}", "key: event.k, reentry: restart}"), """
        events:
          - {t: d0 10:00, type: begin, k: a}
          - {t: d0 11:00, type: begin, k: a}
          - {t: d1 11:00, type: begin, k: a}
        expect: [d0 13:00 m, d1 13:00 m]
        """) == []


def test_a_missing_key_property_makes_no_run():
    assert plays(WAIT_AND_SEND, "events: [{t: d0 10:00, type: begin}]\nexpect: []") == []


def test_a_touchpoint_received_a_day_late_enters_nobody_unless_backdated():
    events = "events: [{t: d0 10:00, arrives: d1 10:00, type: begin, k: a}]\n"
    assert plays(WAIT_AND_SEND, events + "expect: []") == []
    assert plays(WAIT_AND_SEND + "backdated: 2d\n", events + "expect: [d0 12:00 m]") == []


def test_a_run_goes_on_after_a_nested_then_or_timeout():
    journey = """
        policy: free
        entry: {event: begin}
        steps:
          - id: w
            wait:
              for: 1h
              until: [{event: go, then: [{id: went, send: email, template: t}]}, {event: skip}]
              timeout: [{id: late, send: email, template: t}]
          - {id: m, send: email, template: t}
        """
    assert plays(journey, "events: [{t: d0 10:00, type: begin}, {t: d0 10:30, type: go}]\n"
                          "expect: [d0 10:30 went, d0 10:30 m]") == []
    assert plays(journey, "events: [{t: d0 10:00, type: begin}, {t: d0 10:30, type: skip}]\n"
                          "expect: [d0 10:30 m]") == []
    assert plays(journey, "events: [{t: d0 10:00, type: begin}]\nexpect: [d0 11:00 late, d0 11:00 m]") == []


def test_a_wait_without_timeout_or_a_branch_without_a_match_goes_on():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: w, wait: {for: 1h, until: [{event: go}]}}
          - {id: b, branch: [{when: "event.nothing == 1", steps: [{id: no, send: email, template: t}]}]}
          - {id: m, send: email, template: t}
        """, "events: [{t: d0 10:00, type: begin}]\nexpect: [d0 11:00 m]") == []


def test_end_ends_the_run_in_the_middle():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: b, branch: [{when: "run.entry.stop == true", steps: [{id: e, end: true}]}]}
          - {id: m, send: email, template: t}
        """, "events: [{t: d0 10:00, type: begin, stop: true}]\nexpect: []\nends: finished") == []


def test_a_condition_that_fails_is_false():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - id: b
            branch:
              - {when: "event.n.x.y > 1", steps: [{id: no, send: email, template: t}]}
              - {else: true, steps: [{id: yes_, send: email, template: t}]}
        """, "events: [{t: d0 10:00, type: begin, n: 3}]\nexpect: [d0 10:00 yes_]") == []


def test_sent_looks_at_this_run():
    assert plays("""
        policy: dropped
        entry: {event: begin, key: event.k}
        steps:
          - {id: m, send: email, template: t}
          - {id: b, branch: [{when: "sent('m')", steps: [{id: again, send: email, template: t, policy: free}]}]}
        """, """
        events: [{t: d0 10:00, type: begin, k: a}, {t: d0 11:00, type: begin, k: b}]
        expect: [d0 10:00 m, d0 10:00 again]
        """) == []


def test_at_is_the_first_allowed_time_at_or_after_the_due_instant():
    journey = """
        policy: free
        entry: {event: begin}
        steps: [{id: w, wait: {for: 1h, at: "09:00"}}, {id: m, send: email, template: t}]
        """
    assert plays(journey, "events: [{t: d0 08:00, type: begin}]\nexpect: [d0 09:00 m]") == []
    assert plays(journey, "events: [{t: d0 08:01, type: begin}]\nexpect: [d1 09:00 m]") == []


def test_a_split_gives_the_arm_that_can_be_written_down():
    journey = """
        policy: free
        entry: {event: begin}
        steps:
          - id: s
            split: {by: person, parts: {one: 50, two: 50}}
            steps: {one: [{id: a, send: email, template: t}], two: [{id: b, send: email, template: t}]}
        """
    from hashlib import sha256
    for person in ("p1", "p2", "p3"):
        place = int(sha256(f"j/s/{person}".encode()).hexdigest(), 16) % 100
        assert plays(journey, f"person: {{id: {person}}}\nevents: [{{t: d0 10:00, type: begin}}]\n"
                              f"expect: [d0 10:00 {'a' if place < 50 else 'b'}]") == []


def test_a_step_visited_twice_is_not_a_duplicate():
    assert plays("""
        policy: free
        entry: {event: begin}
        steps:
          - {id: r, repeat: {max: 2, steps: [{id: m, send: email, template: t}, {id: w, wait: {for: 1h}}]}}
          - {id: last, send: email, template: t}
        """, "events: [{t: d0 10:00, type: begin}]\nexpect: [d0 10:00 m, d0 11:00 m, d0 12:00 last]") == []
