# The facts that plans look at, in the words of facts.bash, where there is only a POSIX shell or where one command must do.
mark() { printf '==fact== %s\n' "$1"; }
mark os
kernel=$(uname -s)
echo "kernel=$kernel"
echo "release=$(uname -r)"
[ -r /etc/os-release ] && cat /etc/os-release
mark arch
uname -m
mark libc
[ "$kernel" = Linux ] && { getconf GNU_LIBC_VERSION 2>/dev/null || for f in /lib/ld-musl-*; do [ -e "$f" ] && { echo musl; "$f" 2>&1; }; done; }
mark user
echo "name=$(id -un)"
echo "uid=$(id -u)"
echo "groups=$(id -Gn)"
echo "home=$HOME"
[ -w "$HOME" ] && echo home_writable=yes
echo "shell=${SHELL:-/bin/sh}"
echo "umask=$(umask)"
mark sudo
if command -v sudo >/dev/null; then echo present=yes; sudo -n true </dev/null >/dev/null 2>&1 && echo passwordless=yes; else echo present=no; fi
mark tools
for name in $TOOLS; do f=$(command -v "$name") && echo "$name=$f"; done
mark init
if [ -d /run/systemd/system ]; then echo systemd; elif [ -e /run/openrc ]; then echo openrc; else echo none; fi
:
