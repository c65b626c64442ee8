"""What goes over the pipe comes out as it went in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rtgen.instrument.job import PARTS, Answer, Heard, Job, Placed
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.rig.worker import wire
from rtgen.rig.worker.wire import Failed, Ready, Said, Skipped

A, B = (Loop(1920, (Note(-5, pitch, 100, 90), Note(960, pitch + 4, 7)), 1440) for pitch in (60, 61))

NONSENSE = [
    "",
    "Segmentation fault",
    "{",
    "[]",
    "null",
    "{}",
    '{"kind":"answer"}',
    '{"kind":"unheard of"}',
    '{"kind":["ready"]}',
    *(
        '{"kind":"ready","model":"m","device":"cpu","times":' + times + ',"remark":"","role":"r","dimensions":[],'
        '"pitched":true,"hears":false}'
        for times in (
            *('{"vary":[NaN,1]}', '{"vary":[1,-1]}', '{"vary":[0,1]}', '{"vary":["soon",1]}', '{"vary":[1]}'),
            *("{}", "7", '{"vary":1}', '{"unheard of":[1,1]}', '{"vary":[1' + "0" * 400 + ",1]}"),
        )
    ),
    *(
        f'{{"kind":"answer","loop":{loop},"target":{target},"epoch":1,"draft":false,"part":{part}}}'
        for loop, target, part in (
            ('{"length":1920,"bar":1920,"notes":[[0.5,60,10,80]]}', "1", '"whole"'),
            ('{"length":1920,"bar":1920,"notes":[[0,160,10,80]]}', "1", '"whole"'),
            ('{"length":1920,"bar":1920,"notes":[[0,60,999999999,80]]}', "1", '"whole"'),
            ('{"length":1920,"bar":1920,"notes":7}', "1", '"whole"'),
            ('{"length":0,"bar":1920,"notes":[]}', "1", '"whole"'),
            ('{"length":999999999,"bar":1920,"notes":[]}', "1", '"whole"'),
            ('{"length":1920,"bar":1920,"notes":[]}', "1" + "0" * 400, '"whole"'),
            *(('{"length":1920,"bar":1920,"notes":[]}', "1", part) for part in ('"some"', "1", "null", "[]")),
        )
    ),
    "[" * 100_000,
]


@pytest.mark.parametrize(
    "job",
    [
        Job(A, "vary", 2**30, 1920, 3, {"distance": 0.5}),
        Job(A, "continue", 1, 0, 0, {}, past=(B, A)),
        Job(Loop(1920), "blend", 1, 0, 0, {"blend": 1.0}, ends=(A, B)),
    ],
)
def test_a_job_arrives_whole(job: Job) -> None:
    line = wire.from_job(job)
    assert wire.to_job(line) == job
    assert not wire.is_to_hear(line)


def test_a_call_is_the_same_object_in_the_past_of_the_next_one() -> None:
    """Caches find it by that, and need not compare its notes."""
    call = Loop(1920, (Note(7, 61, 100, 77),))
    first = wire.to_job(wire.from_job(Job(call, "continue", 1, 0, 0, {})))
    second = wire.to_job(wire.from_job(Job(A, "continue", 2, 1920, 0, {}, past=(call,))))
    assert second.past[0] is first.loop
    assert wire.to_heard(wire.from_heard(Heard((call,), A))).past[0] is first.loop


SHAPED = replace(A, hand=Hand((Moved(-5, b"\xd2\x50"), Moved(-5, b"\x92\x3c\x50"), Moved(95, b"\x82\x3c\x00")), True))


def test_a_loop_arrives_with_its_hand() -> None:
    assert wire.to_loop(json.loads(json.dumps(wire.from_loop(SHAPED)))) == SHAPED


def test_models_hear_notes_alone() -> None:
    job = Job(SHAPED, "blend", 1, 0, 0, {}, ends=(SHAPED, B))
    assert wire.to_job(wire.from_job(job)) == replace(job, loop=A, ends=(A, B))
    assert wire.to_heard(wire.from_heard(Heard((), SHAPED))) == Heard((), A)


@pytest.mark.parametrize(
    "messages",
    [
        [[0, "f8"]],
        [[0, "b00740"]],
        [[0, "e000"]],
        [[0, "e00080"]],
        [[0.5, "e00040"]],
        [[0, ""]],
        [[0, "zz"]],
        [[10, "e00040"], [0, "e00040"]],
        [[0, "e00040"]] * 20_000,
        [[10**9, "e00040"]],
        7,
    ],
)
def test_what_no_hand_plays_is_no_loop(messages: object) -> None:
    fields = {**wire.from_loop(A), "hand": {"messages": messages, "apart": False}}
    with pytest.raises((ValueError, TypeError)):
        wire.to_loop(fields)


@pytest.mark.parametrize("heard", [Heard((), Loop(1920)), Heard((B, A), A, {"key": 3.0})])
def test_what_there_is_to_hear_arrives_whole(heard: Heard) -> None:
    line = wire.from_heard(heard)
    assert wire.is_to_hear(line)
    assert wire.to_heard(line) == heard


@pytest.mark.parametrize(
    "said",
    [
        Answer(A, 1920, 3),
        *(Answer(A, 1920, 3, part=part) for part in PARTS),
        Ready(
            "tiny", "cpu", {"vary": (0.01, 0.02), "blend": (0.03, 0.0)}, "a remark", "autoencoder", ("density", "z1")
        ),
        Ready("tiny", "cpu", {"vary": (0.01, 0.02)}, pitched=False, hears=True),
        Placed((0.5, 1.0), (), ((0.0,), (0.25,))),
        Failed("no"),
        Failed("no", True),
        Skipped(),
    ],
)
def test_what_the_worker_says_arrives_whole(said: Said) -> None:
    assert wire.to_said(wire.from_said(said)) == said


@pytest.mark.parametrize("field", ["role", "times", "dimensions", "pitched", "hears"])
def test_what_says_too_little_is_nothing(field: str) -> None:
    fields = json.loads(wire.from_said(Ready("tiny", "cpu", {"vary": (0.01, 0.02)})))
    del fields[field]
    assert wire.to_said(json.dumps(fields)) is None


@pytest.mark.parametrize("line", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_says_nothing(line: str) -> None:
    assert wire.to_said(line + "\n") is None
