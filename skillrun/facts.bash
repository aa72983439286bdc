# Probes of `skillrun facts`: read-only, each prints its lines under a mark. ASK, HOSTS and TOOLS are set before.
limit() { if command -v timeout >/dev/null; then timeout "$@"; else shift; "$@"; fi; }
mark() { printf '==fact== %s\n' "$1"; }

p_sudo() {
  command -v sudo >/dev/null || { echo present=no; return; }
  echo present=yes
  limit 3 sudo -n true </dev/null >/dev/null 2>&1 && echo passwordless=yes
}
p_ports() {
  if command -v ss >/dev/null; then
    limit 2 ss -Hltnp 2>/dev/null | awk '{ o = ""; if (match($0, /\(\("[^"]+"/)) o = substr($0, RSTART + 3, RLENGTH - 4); print $4 "\t" o }'
  elif [ -r /proc/net/tcp ]; then
    while read -r _ local _ state _; do
      [ "$state" = 0A ] && printf '*:%d\n' "0x${local##*:}"
    done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  fi | head -60
}
p_foreign() { [ -d "$HOME" ] && [ "$(id -u)" != 0 ] && limit 2 find "$HOME" -maxdepth 3 -xdev ! -user "$(id -u)" -prune -print 2>/dev/null | head -20; }
p_packages() {
  command -v dpkg >/dev/null || return
  limit 3 dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null |
    awk '$1 ~ /^h/ { print "held=" $2 } substr($1, 2, 1) ~ /[UFHWtu]/ { print "half_configured=" $2 }'
  grep -lsE '^Pin' /etc/apt/preferences /etc/apt/preferences.d/* 2>/dev/null | sed 's/^/pins=/'
  local lock inode
  for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
    inode=$(stat -c %i "$lock" 2>/dev/null) || continue
    awk -v i=":$inode" '$2 != "->" && index($6, i) == length($6) - length(i) + 1 { print $5 }' /proc/locks 2>/dev/null | while read -r pid; do
      echo "lock_holders=$lock $pid $(cat "/proc/$pid/comm" 2>/dev/null)"
    done
  done
  if compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    echo lists=present
    # fetched lists carry the server's date: when they came here is their status time, or that of the folder they passed through
    newest=$(stat -c %Z /var/lib/apt/lists/partial /var/lib/apt/lists/*Release 2>/dev/null | sort -n | tail -1)
    [ -n "$newest" ] && echo "lists_age_days=$((($(date +%s) - newest) / 86400))"
  else
    echo lists=empty
  fi
  sed -nE 's/^(deb(-src)? |URIs:).*$/&/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -oE '[a-z+]+://[^ ]+' | sed -E 's#^[a-z+]+://([^/@]*@)?([^/:]*).*#sources=\2#' | sort -u | head -12
}
p_python() { # is the system's Python closed to pip, and can it make a virtual environment?
  command -v python3 >/dev/null || return
  limit 3 python3 -I -c '
import importlib.util, os, sysconfig
has = lambda name: "yes" if importlib.util.find_spec(name) else "no"
print("externally_managed=" + ("yes" if os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")) else "no"))
print("pip=" + has("pip"))
print("venv=" + (has("venv") if has("ensurepip") == "yes" else "no"))' 2>/dev/null </dev/null
}
p_services() { # name=running|stopped|failed
  if [ -d /run/systemd/system ]; then
    limit 3 systemctl list-units --type=service --all --plain --no-legend --no-pager 2>/dev/null |
      awk '$2 == "loaded" { sub(/\.service$/, "", $1); print $1 "=" ($3 == "active" ? "running" : $3 == "failed" ? "failed" : "stopped") }'
  elif command -v service >/dev/null && [ -d /etc/init.d ]; then
    limit 3 service --status-all 2>/dev/null </dev/null | awk '$2 == "+" { print $4 "=running" } $2 == "-" { print $4 "=stopped" }'
  fi | head -300
}
p_local_bin() { # does a login shell find programs in ~/.local/bin? Asked of the shell itself: start-up files may add, reset or return early
  local entry shell found
  entry=$(getent passwd "$(id -un)" 2>/dev/null)
  shell=${entry##*:}
  case ${shell##*/} in bash | sh | dash | zsh | ksh) ;; *) return ;; esac
  found=$(limit 3 env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" SHELL="$shell" PATH=/usr/local/bin:/usr/bin:/bin \
    "$shell" -lc 'printf "\n:%s:" "$PATH"' 2>/dev/null </dev/null) || return
  case $found in
    *:"$HOME/.local/bin":*) echo yes ;;
    *) if [ ! -d "$HOME/.local/bin" ] && grep -qsF .local/bin "$HOME/.bash_profile" "$HOME/.bash_login" "$HOME/.profile" "$HOME/.zprofile"; then
      echo once it exists
    else echo no; fi ;;
  esac
}
p_version() { # the first line that has a number; some print it to standard error, some know no --version
  local path line
  path=$(command -v "$1") || return
  # one of rustup's links: asked before rustup was set up, it would write its settings
  [ "$path" -ef "${path%/*}/rustup" ] && [ ! -e "${RUSTUP_HOME:-$HOME/.rustup}/settings.toml" ] && return
  case $1 in
    npm) # starting it takes longer than all else together, and its package says it too
      line=$(readlink -f "$path" 2>/dev/null)
      line=$(sed -n 's/^  "version": "\(.*\)".*/\1/p' "${line%/bin/*}/package.json" 2>/dev/null)
      [ -n "$line" ] || line=$(limit 3 "$path" --version </dev/null 2>&1) ;;
    go) line=$(limit 3 go version 2>/dev/null) ;;
    java) line=$(limit 3 java -version 2>&1) ;;
    *) line=$(limit 3 "$path" --version </dev/null 2>&1) ;;
  esac
  printf '%s=%s\n' "$1" "$(printf '%s\n' "$line" | grep -m1 '[0-9]\.[0-9]')"
}
p_reach() {
  local host=${1%:*} port=443
  case $1 in *:*) port=${1##*:} ;; esac
  if limit 4 bash -c ': </dev/tcp/$0/$1' "$host" "$port" 2>/dev/null; then echo "$1=yes"; else echo "$1=no"; fi
}
p_mounts() { # only what a person would put files on: mount, type, options, KiB in all, KiB free, inodes free
  { cat /proc/mounts 2>/dev/null; echo ==; limit 2 df -Pi 2>/dev/null; echo ==; limit 2 df -Pk 2>/dev/null; } | awk '
    $0 == "==" { part++; next }
    !part { kind[$2] = $3; options[$2] = $4; next }
    part == 1 { inodes[$6] = $4; next }
    $2 !~ /^[0-9]+$/ || $6 ~ "^/(proc|sys)(/|$)" || $6 ~ "^/dev(/pts)?$" || seen[$6]++ { next }
    { print $6 "\t" (kind[$6] ? kind[$6] : "-") "\t" (options[$6] ? options[$6] : "-") "\t" $2 "\t" $4 "\t" (inodes[$6] != "" ? inodes[$6] : "-") }' | head -30
}

# the slow ones start together, each on a descriptor of its own, and are read at the end
next=20
start() { eval "exec $next< <(\"\$@\")"; next=$((next + 1)); }
probes="sudo mounts ports foreign packages python services local_bin"
[ -z "$QUICK" ] || probes="mounts"
for name in $probes; do start "p_$name"; done
for name in $ASK; do start p_version "$name"; done
for name in $HOSTS; do start p_reach "$name"; done
first=20
read_back() { # MARK COUNT
  mark "$1"
  local last=$((first + $2))
  while [ "$first" -lt "$last" ]; do
    eval "cat <&$first"
    first=$((first + 1))
  done
}
count() { echo $#; }

mark os
echo "kernel=$(uname -s)"
echo "release=$(uname -r)"
cat /etc/os-release 2>/dev/null || { command -v sw_vers >/dev/null && echo "VERSION_ID=$(sw_vers -productVersion)"; }
mark arch
uname -m
mark libc
[ "$(uname -s)" = Linux ] && { getconf GNU_LIBC_VERSION 2>/dev/null || for f in /lib/ld-musl-*; do [ -e "$f" ] && { echo musl; "$f" 2>&1; }; done; }
mark user
echo "name=$(id -un)"
echo "uid=$(id -u)"
echo "groups=$(id -Gn)"
echo "home=$HOME"
[ -w "$HOME" ] && echo home_writable=yes
entry=$(getent passwd "$(id -un)" 2>/dev/null)
[ -n "$entry" ] || entry=$SHELL
echo "shell=${entry##*:}"
echo "umask=$(umask)"
mark shell
for f in .bash_profile .bash_login .profile .bashrc .zshenv .zprofile .zshrc .zlogin .config/fish/config.fish; do [ -e "$HOME/$f" ] && echo "$f"; done
mark path
IFS=:
for f in $PATH; do echo "$f"; done
unset IFS
mark locale
echo "${LC_ALL:-${LANG:-C}}"
mark tools
for name in $TOOLS; do f=$(command -v "$name") && echo "$name=$f"; done
mark memory
grep -sE '^(MemTotal|MemAvailable|SwapFree):' /proc/meminfo
echo "cpus: $(getconf _NPROCESSORS_ONLN 2>/dev/null)"
mark init
if [ -d /run/systemd/system ]; then echo systemd; elif [ "$(uname -s)" = Darwin ]; then echo launchd; elif [ -e /run/openrc ]; then echo openrc; else echo none; fi
mark container
if [ -e /.dockerenv ]; then echo docker; elif [ -e /run/.containerenv ]; then echo podman; elif [ -n "$container" ]; then echo "$container"; elif grep -qsE 'docker|lxc|kubepods' /proc/1/cgroup; then echo container; fi
mark wsl
grep -si microsoft /proc/sys/kernel/osrelease
mark ci
[ -n "$GITHUB_ACTIONS" ] && echo github
[ -n "$GITLAB_CI" ] && echo gitlab
[ -n "$CI" ] && echo yes
mark proxy
for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY; do [ -n "${!name}" ] && echo "$name=${!name}"; done
mark clock
date -u +%Y-%m-%dT%H:%M:%SZ
for name in $probes; do read_back "$name" 1; done
read_back versions "$(count $ASK)"
read_back reachable "$(count $HOSTS)"
true
