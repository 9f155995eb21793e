"""The client of a receiver of hand-offs, against a fake that answers as the how-to asks of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.fake_receiver import FakeReceiver
from rdo_promoter.clients.receiver import Receiver, Said, State
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError

KEY = "5e" * 32
CONTENT = b'{"record": "one"}\n'
Make = Callable[..., Receiver]


@pytest.fixture
def fake() -> Iterator[FakeReceiver]:
    fake = FakeReceiver()
    with fake.serve():
        yield fake


@pytest.fixture
def make(fake: FakeReceiver) -> Iterator[Make]:
    made: list[Receiver] = []

    def make(**changes: object) -> Receiver:
        login = {"username": fake.username, "password": fake.password, "backoff": 0.01, "retries": 1}
        made.append(Receiver(fake.url, **{**login, **changes}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_is_posted_is_pending_until_it_is_decided(fake: FakeReceiver, make: Make) -> None:
    receiver = make()
    assert receiver.post(KEY, CONTENT) == Said(State.PENDING)
    assert fake.kept == {KEY: CONTENT}
    assert receiver.state(KEY) == Said(State.PENDING)
    fake.acknowledge(KEY)
    assert receiver.state(KEY) == Said(State.ACKNOWLEDGED)
    fake.reject(KEY, "no\nspace")
    assert receiver.state(KEY) == Said(State.REJECTED, r"no\nspace")
    fake.decided[KEY] = {"rejected": True, "reason": 7}
    assert receiver.state(KEY) == Said(State.REJECTED, "it gives no reason")


@pytest.mark.parametrize("conflicts", [True, False])
def test_what_the_receiver_has_already_is_taken(fake: FakeReceiver, make: Make, conflicts: bool) -> None:
    fake.conflicts = conflicts
    receiver = make()
    receiver.post(KEY, CONTENT)
    fake.acknowledge(KEY)
    assert receiver.post(KEY, CONTENT) == Said(State.ACKNOWLEDGED)


def test_another_conflict_is_a_refusal(fake: FakeReceiver, make: Make) -> None:
    fake.broken = (409, {"key": "6f" * 32, "reason": "another one is being taken"})
    with pytest.raises(
        AnswerError, match=r"POST http://.*/handoffs answered 409: another one is being taken"
    ):
        make().post(KEY, CONTENT)


def test_a_post_whose_answer_is_lost_is_sent_again(fake: FakeReceiver, make: Make) -> None:
    fake.lose_answer = True
    assert make().post(KEY, CONTENT).state is State.PENDING
    assert fake.posts == 2
    assert fake.kept == {KEY: CONTENT}


def test_a_token_lets_in_as_well(fake: FakeReceiver, make: Make) -> None:
    make(username=None, password=fake.token).check_login()
    with pytest.raises(
        AuthError, match=r"answered 401: who are you\?; check the login, or the token, of the"
    ):
        make(username=None, password="wrong").check_login()
    with pytest.raises(AuthError):
        make(username=None, password=None).post(KEY, CONTENT)
    assert fake.kept == {}


def test_who_knows_a_hand_off_that_cannot_exist_is_no_receiver(fake: FakeReceiver, make: Make) -> None:
    """A page that answers whatever is asked."""
    fake.broken = (200, {"welcome": "here"})
    with pytest.raises(ConfigError, match="so it is no receiver of hand-offs: check the address in"):
        make().check_login()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_may_pass_is_tried_again(fake: FakeReceiver, make: Make, status: int) -> None:
    fake.broken = (status, {"reason": "later"})
    with pytest.raises(ServiceError, match=f"answered {status}: later") as raised:
        make().post(KEY, CONTENT)
    assert raised.value.status == status
    assert fake.posts == 2


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, AnswerError, "answered 400: bad"),
        (403, AuthError, "answered 403: bad; check the login"),
        (404, NotFoundError, "answered 404: bad; check the address in the receiver's Connection"),
        (422, AnswerError, "answered 422: bad"),
        (301, ConfigError, "answered 301 and points to"),
    ],
)
def test_what_a_person_has_to_mend_is_not(
    fake: FakeReceiver, make: Make, status: int, kind: type[Exception], said: str
) -> None:
    fake.broken = (status, {"reason": "bad"})
    with pytest.raises(kind, match=said):
        make().post(KEY, CONTENT)
    assert fake.posts == 1


def test_nobody_there_is_no_answer(make: Make, fake: FakeReceiver) -> None:
    receiver = Receiver("http://127.0.0.1:9/handoffs", retries=0)
    with pytest.raises(ServiceError, match=r"receiver gave no answer to POST http://127.0.0.1:9/handoffs"):
        receiver.post(KEY, CONTENT)
