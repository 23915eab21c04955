"""Who is who: tracks over frames, and to whom faces and hands belong."""

from dataclasses import replace

from extract.people.detections import Found, detections
from extract.people.persons import persons_at, persons_of


def person(frame: int, left: float, score: float = 0.9) -> Found:
    return Found(frame=frame, kind="person", box=(left, 0.0, left + 20, 60.0), score=score)


def hand(frame: int, left: float) -> Found:
    return Found(frame=frame, kind="hand", box=(left, 40.0, left + 4, 44.0))


def test_a_person_keeps_its_number_though_its_place_in_the_list_changes() -> None:
    found = persons_of(detections([person(0, 10), person(0, 60), person(1, 62), person(1, 12)]))
    assert [one.person for one in found.found()] == [0, 1, 1, 0]


def test_a_person_out_of_sight_for_a_while_is_the_same_and_later_another() -> None:
    found = persons_of(detections([person(0, 10), person(20, 12), person(90, 12)]))
    assert [one.person for one in found.found()] == [0, 0, 1]


def test_a_leap_is_another_person() -> None:
    found = persons_of(detections([person(0, 10), person(1, 90)]))
    assert [one.person for one in found.found()] == [0, 1]


def test_two_in_a_frame_are_never_one() -> None:
    found = persons_of(detections([person(0, 10), person(1, 10), person(1, 11)]))
    assert [one.person for one in found.found()] == [0, 0, 1]


def test_numbers_that_the_detector_gives_stay() -> None:
    said = [replace(person(0, 10), person=7), replace(person(1, 11), person=3)]
    assert [one.person for one in persons_of(detections(said)).found()] == [7, 3]


def test_as_released_a_person_is_its_place_in_the_frame() -> None:
    found = [person(0, 10), person(0, 60), person(1, 62), replace(hand(1, 64), person=5)]
    found[2] = replace(found[2], person=5)
    ranked = persons_of(detections(found), "rank").found()
    assert [one.person for one in ranked] == [0, 1, 0, 0]


def test_hands_belong_to_the_person_that_they_lie_in_else_to_nobody_else() -> None:
    found = persons_of(
        detections([person(0, 10), person(0, 60), hand(0, 65), hand(0, 11), hand(0, 120)])
    )
    assert [one.person for one in found.found()] == [0, 1, 1, 0, 2]


def test_the_surest_come_first() -> None:
    found = persons_of(detections([person(0, 10, 0.4), person(0, 60, 0.8), hand(0, 12)]))
    first, second = persons_at(found, 0)
    assert (first.number, second.number) == (1, 0)
    assert len(second.best("hand", 2)) == 1
    assert not len(first.best("hand", 2))
