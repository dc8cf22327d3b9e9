"""Every route of the web chat, and what each is."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

PROBE, PAGE, READ = "probe", "page", "read"
CHANGE, CLIENT, LOGIN, FRAME = "change", "client", "login", "frame"

ROWS: Mapping[str, str] = {
    "GET /": PAGE,
    "GET /t/<thread_id>": PAGE,
    "GET /r/<run_id>": PAGE,
    "GET /r/<run_id>/<other_id>": PAGE,
    "GET /healthz": PROBE,
    "GET /assistants": PAGE,
    "GET /assistants/<assistant_id>": PAGE,
    "GET /a/<token>": PAGE,
    "GET /you": PAGE,
    "GET /admin": PAGE,
    "GET /admin/<section>": PAGE,
    "GET /login": PAGE,
    "GET /favicon.ico": PAGE,
    "GET /manifest.webmanifest": PAGE,
    "GET /service-worker.js": PAGE,
    "GET /static/<asked>/<path:name>": PAGE,
    "GET /login/oidc": PAGE,
    "GET /login/oidc/callback": PAGE,
    "POST /api/login": LOGIN,
    "POST /api/logout": CHANGE,
    "POST /api/logout/everywhere": CHANGE,
    "POST /api/password": CHANGE,
    "GET /api/me": READ,
    "POST /api/messages/process": CLIENT,
    "GET /api/messages/process/<thread_id>/stream": READ,
    "POST /api/agui": CLIENT,
    "GET /api/runs/<run_id>/stream": READ,
    "GET /api/runs/<run_id>/timeline": READ,
    "GET /api/threads/<thread_id>/runs": READ,
    "POST /api/runs/<run_id>/stop": CLIENT,
    "POST /api/runs/<run_id>/tools/<path:call_id>/stop": CLIENT,
    "POST /api/runs/<run_id>/approvals/<path:call_id>": CLIENT,
    "GET /api/grants": READ,
    "POST /api/grants/revoke": CHANGE,
    "GET /api/search": READ,
    "GET /api/tags": READ,
    "GET /api/folders": READ,
    "POST /api/folders": CHANGE,
    "GET /api/folders/<folder_id>": READ,
    "PATCH /api/folders/<folder_id>": CHANGE,
    "DELETE /api/folders/<folder_id>": CHANGE,
    "GET /api/threads": READ,
    "POST /api/threads/batch": CHANGE,
    "GET /api/threads/<thread_id>": READ,
    "PATCH /api/threads/<thread_id>": CHANGE,
    "DELETE /api/threads/<thread_id>": CHANGE,
    "GET /api/threads/<thread_id>/messages": READ,
    "POST /api/threads/<thread_id>/branch": CHANGE,
    "PUT /api/threads/<thread_id>/feedback/<shown_id>": CHANGE,
    "GET /api/threads/<thread_id>/export": READ,
    "POST /api/threads/<thread_id>/previews/<shown_id>": CHANGE,
    "GET /artifact/<signed>": FRAME,
    "POST /api/files": CHANGE,
    "GET /api/files/<file_id>": READ,
    "GET /api/files/<file_id>/document": READ,
    "GET /api/files/<file_id>/pages/<number>": READ,
    "GET /api/models": READ,
    "GET /api/personal": READ,
    "PATCH /api/personal": CHANGE,
    "POST /api/memories": CHANGE,
    "PATCH /api/memories/<memory_id>": CHANGE,
    "DELETE /api/memories/<memory_id>": CHANGE,
    "DELETE /api/memories": CHANGE,
    "GET /api/servers": READ,
    "GET /api/servers/<name>": READ,
    "POST /api/servers/<name>/prompts": CHANGE,
    "POST /api/servers/<name>/resources": CHANGE,
    "GET /api/prompts": READ,
    "PUT /api/prompts": CHANGE,
    "GET /api/assistants": READ,
    "POST /api/assistants": CHANGE,
    "GET /api/assistants/<assistant_id>": READ,
    "PATCH /api/assistants/<assistant_id>": CHANGE,
    "DELETE /api/assistants/<assistant_id>": CHANGE,
    "POST /api/assistants/<assistant_id>/share": CHANGE,
    "DELETE /api/assistants/<assistant_id>/share": CHANGE,
    "GET /api/shared/<token>": READ,
    "POST /api/shared/<token>": CHANGE,
    "GET /api/admin/people": READ,
    "POST /api/admin/people": CHANGE,
    "PATCH /api/admin/people/<person_id>": CHANGE,
    "DELETE /api/admin/people/<person_id>": CHANGE,
    "GET /api/admin/keys": READ,
    "POST /api/admin/keys": CHANGE,
    "DELETE /api/admin/keys/<key_id>": CHANGE,
    "PATCH /api/admin/keys/<key_id>": CHANGE,
    "GET /api/admin/projects": READ,
    "POST /api/admin/projects": CHANGE,
    "PATCH /api/admin/projects/<project_id>": CHANGE,
    "DELETE /api/admin/projects/<project_id>": CHANGE,
    "GET /api/admin/owners": READ,
    "GET /api/admin/owners/<path:owner>/export": READ,
    "DELETE /api/admin/owners/<path:owner>": CHANGE,
    "GET /api/admin/provider_keys": READ,
    "PUT /api/admin/provider_keys/<provider>/<path:owner>": CHANGE,
    "DELETE /api/admin/provider_keys/<provider>/<path:owner>": CHANGE,
    "GET /api/admin/webhooks": READ,
    "POST /api/admin/webhooks": CHANGE,
    "PATCH /api/admin/webhooks/<webhook_id>": CHANGE,
    "DELETE /api/admin/webhooks/<webhook_id>": CHANGE,
    "POST /api/admin/webhooks/<webhook_id>/rotate_secret": CHANGE,
    "POST /api/admin/webhooks/<webhook_id>/test": CHANGE,
    "GET /api/admin/webhooks/<webhook_id>/deliveries": READ,
    "POST /api/admin/webhooks/<webhook_id>/deliveries/<event_id>/resend": CHANGE,
    "GET /api/admin/schedules": READ,
    "POST /api/admin/schedules": CHANGE,
    "GET /api/admin/schedules/times": READ,
    "PATCH /api/admin/schedules/<schedule_id>": CHANGE,
    "DELETE /api/admin/schedules/<schedule_id>": CHANGE,
    "POST /api/admin/schedules/<schedule_id>/run": CHANGE,
    "GET /api/admin/schedules/<schedule_id>/occurrences": READ,
    "GET /api/admin/acts": READ,
    "GET /api/admin/runs": READ,
    "POST /api/admin/runs/<run_id>/stop": CHANGE,
    "GET /api/admin/usage": READ,
    "GET /api/admin/servers": READ,
    "GET /api/admin/models": READ,
    "GET /api/admin/assistants": READ,
}
"""What each route is. `CLIENT` is what other programs' chat clients use: they know of no token.

`FRAME` is what the second origin serves, and the web chat's own does not.
"""


def routes(app: Flask) -> dict[str, str]:
    """Each route with a path of it; what ends the session comes last."""
    found = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule == "/api/logout"):
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<{name}>", f"{name}_1").replace(f"<path:{name}>", "x.css")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            found[f"{method} {rule.rule}"] = path
    return found
