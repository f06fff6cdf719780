"""Who may do what: roles, passwords, API tokens, sessions, and how often somebody may try."""

from __future__ import annotations

import msgspec
import pytest

from littoral.core.errors import Corrupt, Denied, Invalid, LittoralError, Overloaded
from littoral.identity.attempts import Attempts, Rate, network_of
from littoral.identity.bearer import Bearer, new_bearer, read_bearer
from littoral.identity.passwords import Cost, Passwords
from littoral.identity.roles import PERMISSIONS, Principal, Role, check_role, check_scopes
from littoral.identity.tokens import (
    API_TOKEN,
    SESSION,
    SESSION_IDLE_S,
    SESSION_S_MAX,
    ApiToken,
    begin_session,
    go_on,
    new_api_token,
    principal_of,
)
from littoral.identity.users import PasswordAlone, User, log_in, new_user, with_password

NOW_S = 1_700_000_000.0
DAY_S = 86_400.0
CHEAP = Passwords(Cost(rounds=1, memory_kib=64, lanes=1))
SECRET = "correct horse battery"


class Codes:
    """A second factor: a code that is good in one minute."""

    def asked_of(self, user: User) -> bool:
        return user.second_factor != ""

    def proven(self, user: User, proof: str, now_s: float) -> bool:
        return proof == f"{user.second_factor}-{int(now_s // 60)}"


def _user(role: Role = "operator") -> User:
    return new_user("ada", role, SECRET, CHEAP, NOW_S)


def _log_in(user: User | None, password: str = SECRET, proof: str = "", factor: object = None) -> User:
    chosen = PasswordAlone() if factor is None else factor
    return log_in(user, password, CHEAP, now_s=NOW_S, factor=chosen, proof=proof)  # type: ignore[arg-type]


def _code(act: object) -> str:
    with pytest.raises(LittoralError) as caught:
        act()  # type: ignore[operator]
    return caught.value.code


# ---- roles ---------------------------------------------------------------------------------------------------------


def test_each_role_of_a_person_may_what_the_one_below_it_may_and_a_site_nothing_of_that() -> None:
    assert PERMISSIONS["viewer"] < PERMISSIONS["operator"] < PERMISSIONS["admin"]
    assert not PERMISSIONS["site"] & PERMISSIONS["admin"]
    assert not any(each.endswith(":write") for each in PERMISSIONS["viewer"])


def test_who_may_not_is_told_which_permission_it_takes() -> None:
    with pytest.raises(Denied) as caught:
        Principal("ada", "viewer").require("models:write")
    assert caught.value.code == "permission_missing"
    assert "models:write" in str(caught.value)
    Principal("ada", "operator").require("models:write")


def test_scopes_narrow_a_role_and_never_widen_it() -> None:
    narrow = Principal("ci", "operator", frozenset(["models:write", "access:write"]))
    assert narrow.may("models:write")
    assert not narrow.may("sites:read")
    assert not narrow.may("access:write")
    assert _code(lambda: check_scopes(frozenset(["access:write"]), "operator")) == "scope_unknown"


def test_a_role_is_one_of_four() -> None:
    assert check_role("admin") == "admin"
    assert _code(lambda: check_role("root")) == "role_unknown"


# ---- people --------------------------------------------------------------------------------------------------------


def test_a_user_logs_in_with_the_right_password_and_nothing_else() -> None:
    user = _user()
    assert _log_in(user) == user
    assert _code(lambda: _log_in(user, "correct horse batter")) == "login_refused"
    assert _code(lambda: _log_in(user, "")) == "login_refused"
    assert _code(lambda: _log_in(user, "x" * 100_000)) == "login_refused"


def test_an_unknown_name_a_disabled_user_and_a_wrong_password_are_refused_in_the_same_words() -> None:
    # given three reasons to refuse
    user = _user()
    disabled = msgspec.structs.replace(user, disabled=True)
    told = []

    # when each tries
    for who, password in ((None, SECRET), (disabled, SECRET), (user, "another password")):
        with pytest.raises(Denied) as caught:
            _log_in(who, password)
        told.append((caught.value.code, str(caught.value), tuple(caught.value.context.items())))

    # then nobody learns which it was
    assert len(set(told)) == 1


def test_an_unknown_name_costs_as_much_work_as_a_known_one() -> None:
    # given passwords that count how often they are compared
    class Counted:
        compared = 0

        def digest(self, password: str) -> str:
            return CHEAP.digest(password)

        def matches(self, digest: str | None, password: str) -> bool:
            Counted.compared += 1
            return CHEAP.matches(digest, password)

        def outdated(self, digest: str) -> bool:
            return CHEAP.outdated(digest)

    # when somebody tries a name that nobody has
    with pytest.raises(Denied):
        log_in(None, SECRET, Counted(), now_s=NOW_S, factor=PasswordAlone())

    # then a password was compared all the same
    assert Counted.compared == 1


def test_a_password_is_kept_by_argon2id_with_its_own_salt() -> None:
    one, two = _user(), _user()
    assert one.password.startswith("$argon2id$")
    assert one.password != two.password
    assert SECRET not in msgspec.json.encode(one).decode()


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 257])
def test_a_poor_password_is_refused_without_being_quoted(password: str) -> None:
    with pytest.raises(Invalid) as caught:
        new_user("ada", "viewer", password, CHEAP, NOW_S)
    assert caught.value.code == "password_weak"
    assert password == "" or password not in repr(caught.value) + str(caught.value.context)


def test_an_old_password_gets_todays_cost_when_its_user_logs_in() -> None:
    # given a user from when guessing was dearer for us
    user = new_user("ada", "viewer", SECRET, Passwords(Cost(rounds=2, memory_kib=64, lanes=1)), NOW_S)
    assert CHEAP.outdated(user.password)

    # when she logs in
    renewed = _log_in(user)

    # then what is to be stored has today's cost, and the same password
    assert renewed.password != user.password
    assert not CHEAP.outdated(renewed.password)
    assert _log_in(renewed) == renewed


def test_a_password_can_be_changed() -> None:
    changed = with_password(_user(), "another good password", CHEAP)
    assert _code(lambda: _log_in(changed)) == "login_refused"
    assert _log_in(changed, "another good password") == changed


def test_a_stored_password_that_is_none_is_told_as_damage() -> None:
    broken = msgspec.structs.replace(_user(), password="plain text?")
    with pytest.raises(Corrupt):
        _log_in(broken)


def test_a_second_factor_is_asked_of_who_has_one() -> None:
    # given a user with a second factor
    user = msgspec.structs.replace(_user(), second_factor="k1")
    good = f"k1-{int(NOW_S // 60)}"

    # when she shows it, then she is in; and never without it, nor by it alone
    assert _log_in(user, proof=good, factor=Codes()) == user
    assert _code(lambda: _log_in(user, factor=Codes())) == "login_refused"
    assert _code(lambda: _log_in(user, "wrong password", proof=good, factor=Codes())) == "login_refused"
    assert _log_in(_user(), factor=Codes()).name == "ada"


def test_a_hub_without_a_second_factor_does_not_let_in_who_should_show_one() -> None:
    user = msgspec.structs.replace(_user(), second_factor="k1")
    assert _code(lambda: _log_in(user, proof="anything")) == "login_refused"


def test_a_user_does_not_show_her_password_by_accident() -> None:
    user = _user()
    assert user.password not in f"{user} {user!r} {[user]}"


# ---- tokens and sessions -------------------------------------------------------------------------------------------


def test_an_api_token_names_its_owner_within_its_scope_and_time() -> None:
    # given a token for a program
    scopes = frozenset(["events:read"])
    bearer, kept = new_api_token("ci", "viewer", now_s=NOW_S, lifetime_s=DAY_S, scopes=scopes)

    # when it is shown, as it is or after the word Bearer
    for text in (bearer.text(), f"Bearer {bearer.text()}"):
        principal = principal_of(read_bearer(text, API_TOKEN), kept, NOW_S + 60)

        # then it is its owner's, and narrow
        assert principal == Principal("ci", "viewer", scopes)

    # and it is refused when it is over
    assert _code(lambda: principal_of(bearer, kept, NOW_S + DAY_S + 1)) == "key_refused"


def test_an_api_token_that_is_unknown_or_wrong_is_refused_in_the_same_words() -> None:
    bearer, kept = new_api_token("ci", "viewer", now_s=NOW_S, lifetime_s=DAY_S)
    other = new_bearer(API_TOKEN)
    forged = Bearer(API_TOKEN, kept.number, other.secret)
    told = set()
    for shown, found in ((other, None), (forged, kept), (None, None), (None, kept), (bearer, None)):
        with pytest.raises(Denied) as caught:
            principal_of(shown, found, NOW_S)
        told.add((caught.value.code, str(caught.value)))
    assert len(told) == 1


def test_what_is_kept_of_a_token_does_not_contain_its_secret() -> None:
    bearer, kept = new_api_token("ci", "viewer", now_s=NOW_S, lifetime_s=DAY_S)
    encoded = msgspec.json.encode(kept)
    assert bearer.secret not in encoded.decode()
    assert msgspec.json.decode(encoded, type=ApiToken) == kept
    assert bearer.secret not in f"{bearer} {bearer!r} {[bearer]}"


@pytest.mark.parametrize("text", ["", "Bearer ", "Basic x", "littoral-key-1.x.y", "x" * 10_000, "é"])
def test_a_text_that_is_no_token_is_none(text: str) -> None:
    assert read_bearer(text, API_TOKEN) is None


def test_a_session_is_no_api_token_and_the_other_way_round() -> None:
    bearer, _ = begin_session(_user(), NOW_S)
    assert read_bearer(bearer.text(), API_TOKEN) is None
    assert read_bearer(bearer.text(), SESSION) == bearer


def test_a_session_goes_on_while_it_is_used_and_ends_after_hours() -> None:
    # given a session
    user = _user()
    bearer, session = begin_session(user, NOW_S)

    # when it is used every half hour
    now_s = NOW_S
    while now_s + 1800 <= NOW_S + SESSION_S_MAX:
        now_s += 1800
        principal, session = go_on(bearer, session, user, now_s)
        assert principal == user.principal

    # then it ends all the same, and one that was left alone ends earlier
    assert _code(lambda: go_on(bearer, session, user, NOW_S + SESSION_S_MAX + 1)) == "session_over"
    bearer, session = begin_session(user, NOW_S)
    assert _code(lambda: go_on(bearer, session, user, NOW_S + SESSION_IDLE_S + 1)) == "session_over"


def test_a_session_follows_its_user() -> None:
    # given a session of an operator
    user = _user()
    bearer, session = begin_session(user, NOW_S)

    # when she becomes a viewer, then so does the session; when she is disabled or gone, it is over
    demoted = msgspec.structs.replace(user, role="viewer")
    assert go_on(bearer, session, demoted, NOW_S)[0].role == "viewer"
    assert _code(lambda: go_on(bearer, session, msgspec.structs.replace(user, disabled=True), NOW_S)) == "session_over"
    assert _code(lambda: go_on(bearer, session, None, NOW_S)) == "session_over"
    assert _code(lambda: go_on(new_bearer(SESSION), session, user, NOW_S)) == "session_over"
    assert _code(lambda: go_on(bearer, None, user, NOW_S)) == "session_over"


# ---- attempts ------------------------------------------------------------------------------------------------------


def test_somebody_who_tries_too_often_waits_and_is_told_how_long() -> None:
    # given a port that allows three tries at once, and one more every ten seconds
    attempts = Attempts(one=Rate(3, 0.1), everybody=Rate(100, 100))
    for _ in range(3):
        attempts.take(("10.0.0.1", "ada"), 0.0)

    # when a fourth comes at once
    with pytest.raises(Overloaded) as caught:
        attempts.take(("10.0.0.1", "bob"), 0.0)

    # then it waits, and comes back when it was told; others do not wait
    assert caught.value.context["retry_after_ms"] == 10_000
    attempts.take(("10.0.0.2", "carol"), 0.0)
    attempts.take(("10.0.0.1", "bob"), 10.0)


def test_a_name_is_guessed_no_faster_from_many_addresses() -> None:
    attempts = Attempts(one=Rate(3, 0.1), everybody=Rate(100, 100))
    for host in range(3):
        attempts.take((f"10.0.0.{host}", "ada"), 0.0)
    with pytest.raises(Overloaded):
        attempts.take(("10.0.0.9", "ada"), 0.0)


def test_a_good_try_is_forgiven_what_came_before() -> None:
    attempts = Attempts(one=Rate(1, 0.01), everybody=Rate(100, 100))
    for _ in range(5):
        attempts.take(("ada",), 0.0)
        attempts.forgive(("ada",))


def test_all_together_are_bounded_in_work_and_in_memory() -> None:
    # given a crowd of addresses
    attempts = Attempts(one=Rate(5, 1), everybody=Rate(50, 10), keys_max=20)
    allowed = 0

    # when each tries once within ten seconds
    for index in range(1000):
        try:
            attempts.take((f"host-{index}",), index / 100)
            allowed += 1
        except Overloaded:
            pass

    # then no more get through than all together may, and no more are remembered than there is room for
    assert 140 <= allowed <= 151
    assert len(attempts) <= 20


def test_a_clock_that_stands_still_gives_nothing_away() -> None:
    attempts = Attempts(one=Rate(1, 1), everybody=Rate(10, 1))
    attempts.take(("a",), 5.0)
    for at_s in (5.0, 4.0, 0.0):
        with pytest.raises(Overloaded):
            attempts.take(("a",), at_s)


def test_an_ipv6_caller_counts_as_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("not an address") == "unknown"
