"""A package with a service and a user, previewed, committed and undone on a machine where services really start."""

from __future__ import annotations

from tests.boxed import box, said
from tests.lab import real_installs

pytestmark = real_installs

SKILL = """---
name: web
description: A web server.
metadata:
  skillrun-verify: 'curl -fsS http://127.0.0.1/ | grep -q "Welcome to nginx"'
---
# Web
## Install
```bash
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light
```
"""
ALLOWED = "printf '#!/bin/sh\\nexit 0\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d"
"""Without an init system invoke-rc.d starts nothing unless a policy says so (invoke-rc.d(8))."""
MANIFEST = """cd /code; python3 - {name} <<'END'
import json, sys
from pathlib import Path
from tests.lab import manifest
leave = ("proc", "sys", "dev", "run", "tmp", "code", "packages", ".skillrun-0", "root/.local", "var/log", "var/lib/skillrun")
Path(f"/tmp/{name}").write_text(json.dumps(manifest(Path("/"), skip=leave), default=repr, indent=0, sort_keys=True))
END
"""
INSTALL = "cd; python3 -m skillrun install /root/web.md --model builtin --approve {approve} {how} </dev/null; echo code $?"
UNDO = "cd; python3 -m skillrun undo {run} --approve all --edited replace </dev/null; echo code $?"
RUNNING = "pgrep -x nginx >/dev/null && curl -fsS http://127.0.0.1/ | grep -c 'Welcome to nginx' || echo nothing runs"


def test_it_starts_after_the_commit_and_stops_before_the_undo() -> None:
    """Nothing starts in a dry run or an unanswered preview; committed, it answers; undone, it is gone with all it brought."""
    with box(user="root", network="open") as machine:
        said(machine, ALLOWED + "; mkdir -p /root/.local")
        machine.view.write("/root/web.md", SKILL.encode())
        said(machine, MANIFEST.format(name="before"))

        text = said(machine, INSTALL.format(approve="all", how="--dry-run"))
        assert "after the commit: invoke-rc.d nginx start" in text
        assert said(machine, RUNNING) == "nothing runs\n"
        text = said(machine, INSTALL.format(approve="safe", how="--preview"))
        assert text.endswith("code 4\n"), text
        said(machine, MANIFEST.format(name="previewed") + "diff -U12 /tmp/before /tmp/previewed")
        assert said(machine, RUNNING) == "nothing runs\n"

        text = said(machine, INSTALL.format(approve="all", how="--preview"))
        assert text.endswith("code 0\n"), text
        assert "`invoke-rc.d nginx start`: done: Starting nginx" in text
        assert said(machine, RUNNING) == "2\n"
        assert said(machine, "dpkg --audit; dpkg --verify nginx-light nginx-common") == ""

        text = said(machine, UNDO.format(run="last"))
        assert text.endswith("code 0\n"), text
        assert said(machine, "pgrep -x nginx", code=1) == ""
        said(machine, MANIFEST.format(name="undone") + "diff -U12 /tmp/before /tmp/undone")

        text = said(machine, UNDO.format(run="last"))
        assert text.endswith("code 0\n"), text
        assert said(machine, RUNNING) == "2\n"
        said(machine, "service nginx stop")
