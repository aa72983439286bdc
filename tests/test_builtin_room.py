"""A full disk: what a package manager may clear is cleared, and nothing of anybody's."""

from __future__ import annotations

import pytest

from tests.boxed import box, said
from tests.lab import on_a_machine

pytestmark = [*on_a_machine, pytest.mark.slow, pytest.mark.network]

SKILL = """# Install nano

```bash
sudo apt-get install -y nano
```

Check: `nano --version`.
"""


@pytest.mark.parametrize("cached_mb", [58, 0])
def test_what_apt_keeps_as_a_cache_makes_room(cached_mb: int) -> None:
    """Without room for a package the cache is let go and it installs; where that has none, a person has to make room."""
    with box(network="open", disk_mb=320) as machine:
        said(machine, "apt-get update -qq && rm -rf /var/log/* && cat > /home/dev/nano.md <<'E'\n" + SKILL + "\nE")
        old = "/var/cache/apt/archives/old_1_all.deb"
        said(machine, f"head -c {cached_mb}M /dev/zero > {old}; echo mine > /var/cache/letters")
        said(machine, "fallocate -l $(($(df --output=avail -k / | tail -1) - 1500))K /srv/films")
        command = "cd ~ && python3 -m skillrun install nano.md --model builtin --approve all --no-input"
        told = said(machine, command, root=False, code=0 if cached_mb else 4)
        assert "has to make room" in told or cached_mb
        assert said(machine, f"[ -e {old} ] && echo there || echo gone") == ("gone\n" if cached_mb else "there\n")
        assert said(machine, "cat /var/cache/letters && [ -s /srv/films ]") == "mine\n"
