"""Signing in to the page, in the browser: what is sent to whom, what is kept where, and everything that may go wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from support.browser import Visit, chromium, visiting
from support.page_server import BASE, CSP, PageServer, now_ms, serving
from support.page_socket import PageSocket
from support.paths import ROOT
from support.sign_in import Cognito, cognito

MINUTE_MS = 60_000
STORED = "() => JSON.parse(sessionStorage.getItem('streamgage.tokens'))"
VIEW = "measures=%5B%22value.max%22%5D"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def stack() -> Iterator[PageServer]:
    with serving(load_pipeline(ROOT / "pipeline.toml")) as stack:
        begin_ms = now_ms() // MINUTE_MS * MINUTE_MS
        events = [
            {"device_id": "d", "metric": "m", "ts": begin_ms - n * MINUTE_MS, "value": n} for n in range(20)
        ]
        stack.send("reading", events)
        yield stack


@pytest.fixture
def pool(stack: PageServer) -> Iterator[Cognito]:
    """A pool whose tokens the stack takes, and no others."""
    with cognito() as pool:
        pool.callback = stack.url
        stack.config, stack.may = pool.config(), pool.takes
        stack.csp = CSP.replace("connect-src 'self'", f"connect-src 'self' {pool.url}")
        yield pool
        stack.config, stack.may, stack.csp = None, lambda _: True, CSP


@contextmanager
def arriving(browser: Any, stack: PageServer, pool: Cognito, fragment: str = "") -> Iterator[Visit]:
    """Open the page, which asks to sign in."""
    with visiting(browser, stack.url, others=(pool.url,)) as visit:
        if fragment:
            visit.go(fragment)
        signed_out(visit)
        yield visit


def signed_out(visit: Visit, *says: str) -> str:
    visit.until("() => !document.querySelector('#signin').hidden")
    said: str = visit.page.locator("#why").text_content()
    for each in says:
        assert each in said, said
    return said


def sign_in(visit: Visit) -> None:
    visit.page.locator("#go").click()
    visit.until("() => document.querySelector('#signout') && !document.querySelector('#signout').hidden")
    visit.until_rows(lambda rows: len(rows) >= 10)


def test_who_signs_in_sees_the_view_of_his_link_and_nothing_stays_in_the_address(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    stack.asked.clear()
    with arriving(browser, stack, pool, VIEW) as visit:
        assert not [each for each in stack.asked if "/v1/" in each]
        assert visit.page.locator("#health").text_content() == "signed out"
        sign_in(visit)
        assert pool.asked == ["authorize", "authorization_code"]
        assert visit.page.url.startswith(f"{stack.url}#")
        assert "value.max" in visit.page.locator(".numbers thead").text_content()
        assert visit.page.evaluate("() => sessionStorage.getItem('streamgage.pending')") is None
        assert visit.page.evaluate("() => localStorage.length") == 0
        assert visit.page.context.cookies() == []
        # A reload keeps it.
        visit.page.reload()
        visit.until_rows(lambda rows: len(rows) >= 10)
        assert pool.asked == ["authorize", "authorization_code"]


def test_where_nobody_has_to_sign_in_nothing_is_said_and_nothing_kept(
    browser: Any, stack: PageServer
) -> None:
    with visiting(browser, stack.url) as visit:
        visit.until_rows(lambda rows: len(rows) >= 10)
        assert visit.page.locator("#signin, #signout").evaluate_all(
            "(all) => all.every((each) => each.hidden)"
        )
        assert visit.page.evaluate("() => sessionStorage.length") == 0


def test_an_answer_with_a_forged_state_signs_nobody_in(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    pool.state = "x" * 43
    with arriving(browser, stack, pool) as visit:
        visit.page.locator("#go").click()
        visit.until(
            "() => document.querySelector('#why')?.textContent.includes('not the answer to a sign-in of this tab')"
        )
        assert pool.asked == ["authorize"]  # the code was not so much as tried
        assert visit.page.evaluate(STORED) is None
        assert "code=" not in visit.page.url


def test_an_answer_that_nobody_asked_for_does_not_disturb_who_is_signed_in(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        visit.page.goto(f"{stack.url}?code=stolen&state=forged")
        visit.until_rows(lambda rows: len(rows) >= 10)
        assert pool.asked == ["authorize", "authorization_code"]
        assert "stolen" not in visit.page.url


def test_who_is_signed_in_is_told_of_changes_and_his_token_is_in_no_address(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    stack.socket, stack.tickets = PageSocket(), set()
    stack.asked.clear()
    try:
        with arriving(browser, stack, pool) as visit:
            sign_in(visit)
            visit.until("() => document.querySelector('#health').textContent === 'live'")
            token = visit.page.evaluate(STORED)["id_token"]
            assert not [each for each in stack.asked if token in each]
            assert stack.asked.count(f"{BASE}/v1/live/ticket") == stack.socket.handshakes
    finally:
        stack.socket, stack.tickets = None, None


def test_a_token_with_another_nonce_is_not_taken(browser: Any, stack: PageServer, pool: Cognito) -> None:
    pool.nonce = "of another sign-in"
    with arriving(browser, stack, pool) as visit:
        visit.page.locator("#go").click()
        visit.until("() => document.querySelector('#why')?.textContent.includes('another\\'s token')")
        assert visit.page.evaluate(STORED) is None


def test_a_token_for_another_application_is_not_taken(browser: Any, stack: PageServer, pool: Cognito) -> None:
    pool.audience = "another"
    with arriving(browser, stack, pool) as visit:
        visit.page.locator("#go").click()
        visit.until("() => document.querySelector('#why')?.textContent.includes('for another application')")


def test_a_code_is_good_once(browser: Any, stack: PageServer, pool: Cognito) -> None:
    with arriving(browser, stack, pool) as visit:
        codes: list[str] = []
        visit.page.on(
            "request", lambda request: codes.append(request.url) if "code=" in request.url else None
        )
        sign_in(visit)
        (used,) = [each for each in codes if each.startswith(stack.url)]
        visit.page.evaluate("() => sessionStorage.clear()")
        visit.page.goto(used)  # from a history, or a log
        signed_out(visit, "not the answer to a sign-in of this tab")
        # With all that the tab had, too: the pool has given its tokens for it.
        state = used.partition("state=")[2]
        pending = f"{{ state: '{state}', nonce: 'n', verifier: 'v', hash: '' }}"
        visit.page.evaluate(f"() => sessionStorage.setItem('streamgage.pending', JSON.stringify({pending}))")
        visit.page.goto(used)
        signed_out(visit, "invalid_grant")


def test_what_the_pool_says_against_somebody_is_told_as_text(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    pool.error = "<b>Not</b> you"
    with arriving(browser, stack, pool) as visit:
        visit.page.locator("#go").click()
        visit.until(
            "() => document.querySelector('#why')?.textContent === 'Signing in failed: <b>Not</b> you.'"
        )


def test_an_expired_token_is_renewed_before_it_is_sent_and_the_new_refresh_token_kept(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    pool.expires_in = 30  # less than what is early
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        first = visit.page.evaluate(STORED)["refresh_token"]
        pool.expires_in = 3600
        visit.until(
            "(was) => JSON.parse(sessionStorage.getItem('streamgage.tokens')).refresh_token !== was", first
        )
        assert "refresh_token" in pool.asked


@pytest.mark.parametrize("rotates", [True, False])
def test_a_refused_token_is_renewed_once_for_all_who_ask_and_the_question_asked_once_more(
    browser: Any, stack: PageServer, pool: Cognito, *, rotates: bool
) -> None:
    pool.rotates = rotates
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        before = len(visit.rows())
        with pool.lock:
            pool.good.clear()
        visit.until("(was) => JSON.parse(sessionStorage.getItem('streamgage.tokens')).access_token !== was", visit.page.evaluate(STORED)["access_token"])  # fmt: skip
        visit.page.wait_for_event(
            "response", lambda answer: "/v1/" in answer.url and answer.status in (200, 304)
        )
        assert pool.asked.count("refresh_token") == 1
        assert visit.page.evaluate(STORED)["refresh_token"]
        assert len(visit.rows()) >= before
        assert visit.page.locator("#signin").is_hidden()


def test_however_many_ask_at_once_a_token_is_renewed_once(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        bearers = visit.page.evaluate(
            """async () => {
                const tokens = JSON.parse(sessionStorage.getItem("streamgage.tokens"));
                sessionStorage.setItem("streamgage.tokens", JSON.stringify({ ...tokens, expires_ms: 0 }));
                const { SignIn } = await import("./signin.js");
                const access = new SignIn();
                return Promise.all([1, 2, 3, 4, 5].map(() => access.bearer()));
            }"""
        )
        assert len(set(bearers)) == 1
        assert pool.asked.count("refresh_token") == 1


def test_a_session_that_has_ended_asks_to_sign_in_again_and_keeps_the_numbers(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        with pool.lock:
            pool.good.clear()
            pool.refreshes.clear()
        signed_out(visit, "Your session has ended")
        assert visit.rows()
        assert visit.page.evaluate(STORED) is None
        sign_in(visit)


def test_a_fresh_token_that_the_stack_refuses_is_told_and_not_asked_for_for_ever(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    stack.may = lambda _: False
    with arriving(browser, stack, pool) as visit:
        visit.page.locator("#go").click()
        visit.until(
            "() => document.querySelector('#why')?.textContent.includes('does not take this sign-in')"
        )
        assert pool.asked.count("refresh_token") <= 1


def test_a_pool_that_does_not_answer_costs_nobody_his_session(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        with pool.lock:
            pool.down = True
            pool.good.clear()
        visit.until("() => !document.querySelector('#gone').hidden")
        assert "the sign-in answers 503" in visit.page.locator("#gone").text_content()
        pool.down = False
        visit.until("() => document.querySelector('#gone').hidden")
        assert pool.asked.count("authorize") == 1


def test_who_is_renewed_as_somebody_else_is_signed_out(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        with pool.lock:
            pool.subject = "else"
            pool.good.clear()
        signed_out(visit, "somebody else's")


def test_signing_out_forgets_revokes_and_leaves_the_pool(
    browser: Any, stack: PageServer, pool: Cognito
) -> None:
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        visit.page.locator("#signout").click()
        visit.until("() => document.querySelector('#why')?.textContent === 'Sign in to see the numbers.'")
        assert pool.asked[-2:] == ["revoke", "logout"]
        assert visit.page.evaluate(STORED) is None
        assert pool.refreshes == {}


def test_a_claim_of_keys_is_sent_by_the_id_token(browser: Any, stack: PageServer, pool: Cognito) -> None:
    stack.config = pool.config("id_token")
    with arriving(browser, stack, pool) as visit:
        sign_in(visit)
        request = visit.page.wait_for_event("request", lambda each: "/v1/" in each.url)
        assert request.headers["authorization"] == f"Bearer {visit.page.evaluate(STORED)['id_token']}"


def test_the_banner_is_for_everyone(browser: Any, stack: PageServer, pool: Cognito) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with arriving(browser, stack, pool) as visit:
        found = axe.run(visit.page).response["violations"]
        assert [each for each in found if each["impact"] in ("serious", "critical", "moderate")] == []
