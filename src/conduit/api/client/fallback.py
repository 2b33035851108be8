"""Pages for clients that do not know a stage of authentication, or a way to log in: the user goes through it in a browser.

Source: client-server API, "Fallback" (of user-interactive authentication), "Login Fallback".
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from conduit.api.request import Query, Request
from conduit.api.web import Auth, Limit, RawReply, Routes
from conduit.protocol.errors import InvalidParam, LimitExceeded, MatrixError, Unrecognized
from conduit.service.context import Context
from conduit.service.users import uiaa

routes = Routes()

_STAGE: Final = "/_matrix/client/v3/auth/{authType}/fallback/web"

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 3rem auto; padding: 0 1rem }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit }
input, button { margin: .25rem 0 1rem; padding: .5rem }
"""

_PASSWORD_FIELDS: Final = """
<label>User name <input name="user" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
"""

_FORMS: Final = {
    uiaa.DUMMY: "",
    uiaa.PASSWORD: _PASSWORD_FIELDS,
    uiaa.REGISTRATION_TOKEN: """
<label>Registration token <input name="token" autocomplete="off" autocapitalize="none" required autofocus></label>
""",
}
"""What the page of each stage asks for."""

# As the specification has it.
_DONE: Final = """
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
"""

_LOG_IN: Final = """
const form = document.forms[0], message = document.getElementById("message");
form.addEventListener("submit", async event => {
    event.preventDefault();
    const request = {
        type: "m.login.password",
        identifier: { type: "m.id.user", user: form.elements.user.value },
        password: form.elements.password.value,
    };
    const query = new URLSearchParams(location.search);
    for (const name of ["device_id", "initial_device_display_name"])
        if (query.has(name)) request[name] = query.get(name);
    if (query.get("refresh_token") === "true") request.refresh_token = true;
    try {
        const headers = { "Content-Type": "application/json" };
        const body = JSON.stringify(request);
        const answer = await fetch("../../../client/v3/login", { method: "POST", headers, body });
        const response = await answer.json();
        message.textContent = answer.ok ? "You are logged in. This page may be closed." : response.error;
        if (answer.ok && window.matrixLogin) window.matrixLogin.onLogin(response);
    } catch (error) {
        message.textContent = "The server cannot be reached.";
    }
});
"""


@routes.get(_STAGE, auth=Auth.NONE)
async def get_stage(ctx: Context, req: Request) -> RawReply:
    """Show the page on which one completes a stage. "Fallback", GET /auth/{authType}/fallback/web."""
    form = _form(req)
    uiaa.check_open(ctx, req.query.required("session"))
    return _stage_page(form)


@routes.post(_STAGE, auth=Auth.NONE, limit=Limit.LOGIN)
async def complete_stage(ctx: Context, req: Request) -> RawReply:
    """Complete a stage with what was entered on its page, and let the client know; if it was wrong, show the page again."""
    form = _form(req)
    session = req.query.required("session")
    try:
        entered = Query(req.body.decode("ascii"))
    except UnicodeDecodeError as error:
        raise InvalidParam("The body is not a form") from error
    given = {name: entered.text(name, "") for name in ("user", "password", "token")}
    try:
        await uiaa.complete_beside(ctx, session, req.params["authType"], given)
    except LimitExceeded:
        raise
    except MatrixError as error:
        return _stage_page(form, error.error)
    return _page("Done", "<p>Thank you. This page may be closed.</p>", _DONE)


@routes.get("/_matrix/static/client/login/", auth=Auth.NONE)
async def log_in(ctx: Context, req: Request) -> RawReply:
    """Show a page on which one logs in, for a client that does not know how. "Login Fallback"."""
    return _page(f"Log in to {ctx.server_name}", _form_html(_PASSWORD_FIELDS, "Log in"), _LOG_IN)


def _form(req: Request) -> str:
    form = _FORMS.get(req.params["authType"])
    if form is None:
        raise Unrecognized("There is no page for this stage of authentication")
    return form


def _stage_page(form: str, error: str = "") -> RawReply:
    notice = "<p>An application asks you to confirm this. Go on only if you have just begun it yourself.</p>"
    return _page("Authentication", notice + _form_html(form, "Confirm", error))


def _form_html(fields: str, button: str, message: str = "") -> str:
    shown = f'<p id="message" role="alert">{escape(message)}</p>'
    return f'<form method="post">{fields}<button>{button}</button></form>{shown}'


def _page(title: str, body: str, script: str = "") -> RawReply:
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}" + (f"<script>{script}</script>" if script else "") + "</body></html>\n"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return RawReply(html.encode(), content_type="text/html; charset=utf-8", headers=headers)
