"""The other one: the same work in Flask, as many write it, without syncing."""

import hashlib
import hmac
import json
import os
from datetime import datetime, timezone

from flask import Flask, request

with open(os.environ["SECRET_FILE"], "rb") as file:
    SECRET = file.read().strip()
OUTPUT = os.open(os.environ["OUTPUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

app = Flask(__name__)


@app.post("/webhook/github")
def github():
    body = request.get_data()
    signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, request.headers.get("X-Hub-Signature-256", "")):
        return "", 401
    payload = json.loads(body)
    advisory = payload["security_advisory"]
    affected = advisory["vulnerabilities"][0]
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    record = {
        "source": "github",
        "event": request.headers["X-GitHub-Event"],
        "received_at": now,
        "action": payload["action"],
        "severity": advisory["severity"],
        "summary": advisory["summary"],
        "cve_id": advisory["cve_id"],
        "ghsa_id": advisory["ghsa_id"],
        "package": affected["package"]["name"],
        "ecosystem": affected["package"]["ecosystem"],
        "vulnerable_versions": affected["vulnerable_version_range"],
        "patched_version": affected["first_patched_version"]["identifier"],
        "cvss_score": str(advisory["cvss"]["score"]),
        "published_at": advisory["published_at"],
        "delivery": request.headers["X-GitHub-Delivery"],
    }
    os.write(OUTPUT, json.dumps(record, separators=(",", ":")).encode() + b"\n")
    return "accepted\n"
