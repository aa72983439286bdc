# Looks of the built-in engine: read-only; each line that names something is `cause<TAB>word<TAB>fields`.
# PATHS, HOSTS, WORDS and NUMBERS are what the failure speaks of.
say() { local IFS=$'\t'; printf 'cause\t%s\n' "$*"; }
brief() { if command -v timeout >/dev/null; then timeout "$@"; else shift; "$@"; fi; }
there() { local p=$1; p=${p/#\~/$HOME}; p=${p/#\$HOME/$HOME}; while [ ! -e "$p" ] && [ "$p" != / ]; do p=$(dirname "$p"); done; printf %s "$p"; }
mount_of() { # the deepest mount point above a path and its options, as the kernel has them
  awk -v p="$1/" '{ m = $5; if (m != "/") m = m "/"; if (index(p, m) == 1 && length(m) >= n) { n = length(m); best = $5; how = $6 } } END { print best, how }' /proc/self/mountinfo 2>/dev/null
}
places() { for p in $PATHS "${TMPDIR:-/tmp}" "$HOME" "$PWD" /var/cache/apt/archives /var/lib/apt/lists /var/lib/dpkg /var/tmp / "$@"; do there "$p"; echo; done | sort -u; }

writable() { local at how; read -r at how < <(mount_of "$1"); case ,$how, in *,ro,*) return 1 ;; esac; }  # full is how images are made

room() {
  local p
  places | while read -r p; do
    brief 3 df -Pk "$p" 2>/dev/null | awk 'NR == 2 { print "b", $6, $4, $2 }'
    brief 3 df -Pi "$p" 2>/dev/null | awk 'NR == 2 && $2 ~ /^[0-9]+$/ && $2 > 0 { print "i", $6, $4, $2 }'
  done | sort -u | while read -r kind mount free total; do
    [ "$kind" = b ] && [ "$total" -gt 0 ] && [ "$free" -lt 2048 ] && writable "$mount" && say blocks "$mount" "$free" "$total"
    [ "$kind" = i ] && [ "$free" -lt 20 ] && say inodes "$mount" "$free" "$total"
  done
  command -v quota >/dev/null && brief 3 quota 2>/dev/null | grep -F '*' | head -2 | while read -r line; do say quota "$line"; done
}
rights() {
  local p at parent mount how tried
  for p in $PATHS "${TMPDIR:-/tmp}" "$HOME"; do
    at=$(there "$p")
    case " $tried " in *" $at "*) continue ;; esac
    tried="$tried $at"
    [ "$at" = / ] && continue
    read -r mount how < <(mount_of "$at")
    case ,$how, in *,ro,*) say readonly "$p" "$mount" ;; esac
    case ,$how, in *,noexec,*) [ "$mount" != /proc ] && [ "$mount" != /sys ] && [ "${mount#/dev}" = "$mount" ] && say noexec "$p" "$mount" ;; esac
    parent=$at
    while [ "$parent" != / ]; do parent=$(dirname "$parent"); [ -x "$parent" ] || { say closed "$p" "$parent" "$(stat -c %a "$parent" 2>/dev/null)"; break; }; done
    case ,$how, in *,ro,*) ;; *) [ -w "$at" ] || say owner "$at" "$(stat -c %U "$at" 2>/dev/null)" "$(stat -c %a "$at" 2>/dev/null)" ;; esac
    command -v lsattr >/dev/null && lsattr -d "$at" 2>/dev/null | awk '{ print $1 }' | grep -q i && say immutable "$at"
  done
}
answers() { brief 3 bash -c ': </dev/tcp/$0/$1' "$1" "$2" 2>/dev/null; }
proxies() {
  local name place url file
  for name in http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY npm_config_proxy npm_config_https_proxy; do
    url=${!name}
    [ -n "$url" ] || continue
    place=${url#*://} place=${place##*@} place=${place%%/*}
    answers "${place%:*}" "${place##*:}" || say proxy "$name" "${url//:\/\/*@/://***@}" "does not answer"
  done
  for file in "$HOME/.npmrc" /etc/npmrc "$HOME/.config/pip/pip.conf" /etc/pip.conf "$HOME/.curlrc" "$HOME/.wgetrc" /etc/wgetrc "$HOME/.gitconfig" /etc/gitconfig; do
    url=$(grep -hsiE '^[[:space:]]*(https?[-_])?proxy[[:space:]]*=' "$file" | grep -oE '[a-z]+://[^" ]+' | head -1)
    [ -n "$url" ] || continue
    place=${url#*://} place=${place##*@} place=${place%%/*}
    answers "${place%:*}" "${place##*:}" || say fileproxy "$file" "${url//:\/\/*@/://***@}" "does not answer"
  done
  grep -rhosiE '^[^#/]*Acquire::https?::Proxy[^;]*' /etc/apt/apt.conf /etc/apt/apt.conf.d 2>/dev/null | grep -oE '[a-z]+://[^"; ]+' | sort -u | while read -r url; do
    place=${url#*://} place=${place##*@} place=${place%%/*}
    answers "${place%:*}" "${place##*:}" || say aptproxy "$(grep -rlsF "$url" /etc/apt/apt.conf /etc/apt/apt.conf.d | head -1)" "${url//:\/\/*@/://***@}" "does not answer"
  done
  brief 3 apt-config dump 2>/dev/null | grep -ioE '^Acquire::https?::Proxy "[^"]+"' | grep -oE '[a-z]+://[^"]+' | sort -u | while read -r url; do
    place=${url#*://} place=${place##*@} place=${place%%/*}
    answers "${place%:*}" "${place##*:}" || say aptproxy "apt's configuration" "${url//:\/\/*@/://***@}" "does not answer"
  done
}
sources() { # the hosts that packages of the system come from
  grep -hsoE 'https?://[^/ :]+' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed 's#.*//##; s#.*@##' | sort -u | head -4
}
overridden() {
  local host line address
  for host in $HOSTS $(sources); do
    address=$(awk -v h="$host" '!/^#/ { for (i = 2; i <= NF; i++) if ($i == h) print $1 }' /etc/hosts 2>/dev/null | head -1)
    [ -n "$address" ] && say hosts "$host" "$address"
  done
}
indexes() { # where packages of a language come from, when settings name a place of their own
  local name url place port
  {
    for name in npm_config_registry PIP_INDEX_URL UV_INDEX_URL GOPROXY; do [ -n "${!name}" ] && echo "$name ${!name}"; done
    for name in "$HOME/.npmrc" /etc/npmrc; do grep -hsoiE '^[[:space:]]*registry[[:space:]]*=.*' "$name" | sed -E "s#^[^=]*=[[:space:]]*#$name #"; done
    for name in "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do grep -hsoiE '^[[:space:]]*index-url[[:space:]]*=.*' "$name" | sed -E "s#^[^=]*=[[:space:]]*#$name #"; done
  } | while read -r name url; do
    place=${url#*://} place=${place##*@} place=${place%%/*}
    port=${place##*:}
    [ "$port" = "$place" ] && case $url in https:*) port=443 ;; *) port=80 ;; esac
    answers "${place%:*}" "$port" || say index "$name" "${url//:\/\/*@/://***@}"
  done
}
unrouted() { # no default route leads out of here
  [ -r /proc/net/route ] || return
  [ "$(awk '$2 == "00000000"' /proc/net/route | wc -l)" = 0 ] && ! grep -q '^00000000000000000000000000000000 00 .* lo$' <(awk '$10 != "lo"' /proc/net/ipv6_route 2>/dev/null)
}
asked() { # what the proxy says of a host: the first line of its answer
  local url=${http_proxy:-$HTTP_PROXY} place
  place=${url#*://} place=${place##*@} place=${place%%/*}
  brief 6 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "HEAD http://%s/ HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$2" >&3 && IFS= read -r line <&3 && printf %s "$line"' "${place%:*}" "${place##*:}" "$1" 2>/dev/null
}
through() { # a proxy is the only way out, and finds names itself: does it reach anybody?
  local host why=
  for host in $HOSTS $(sources); do
    case $(asked "$host") in
      *'Network is unreachable'* | *'No route to host'*) why="nothing is reached through the proxy ($host: no route)" ;;
      *'failure in name resolution'*) why="nothing is reached through the proxy ($host: no name server answers)" ;;
      *) return ;;
    esac
  done
  [ -n "$why" ] && say nonetwork "$why"
}
names() {
  local servers host known=
  proxies
  if [ -n "${http_proxy:-$HTTP_PROXY}" ] && unrouted; then through; return; fi
  indexes; overridden
  servers=$(awk '$1 == "nameserver" { printf "%s ", $2 }' /etc/resolv.conf 2>/dev/null)
  if [ -L /etc/resolv.conf ] && [ ! -e /etc/resolv.conf ]; then say noserver "/etc/resolv.conf is a link to $(readlink /etc/resolv.conf), which is not there"
  elif [ ! -e /etc/resolv.conf ]; then say noserver "there is no /etc/resolv.conf"
  elif [ ! -r /etc/resolv.conf ]; then say noserver "/etc/resolv.conf cannot be read by this user (mode $(stat -c %a /etc/resolv.conf))"
  elif [ -z "$servers" ]; then say noserver "/etc/resolv.conf names none"
  else
    for host in $HOSTS $(sources); do brief 4 getent hosts "$host" >/dev/null 2>&1 && { known=$host; break; }; done
    if [ -z "$known" ]; then say noserver "/etc/resolv.conf names ${servers% }, and no name is resolved"
    else for host in $HOSTS; do brief 4 getent hosts "$host" >/dev/null 2>&1 || say hostless "$host"; done; fi
  fi
  routes
}
routes() {
  unrouted && say nonetwork "there is no way out of this machine (no default route)"
}
network() {
  local host
  for host in $HOSTS; do
    brief 4 getent hosts "$host" >/dev/null 2>&1 || continue
    answers "$host" 443 || answers "$host" 80 || say unreachable "$host" "443 or 80"
  done
  names
}
certificates() {
  local name value bundle=/etc/ssl/certs/ca-certificates.crt now newest
  for name in SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS npm_config_cafile GIT_SSL_CAINFO; do
    value=${!name}
    [ -n "$value" ] && [ ! -r "$value" ] && say variable "$name" "$value"
  done
  if [ -d /etc/ssl ]; then
    if [ ! -e "$bundle" ]; then say bundle "$bundle" "is not there"
    elif [ ! -r "$bundle" ]; then say bundle "$bundle" "cannot be read by this user (mode $(stat -c %a "$bundle"))"
    elif ! grep -q 'BEGIN CERT' "$bundle"; then say bundle "$bundle" "is empty"; fi
  fi
  clock
}
clock() {
  local now newest
  now=$(date +%s)
  newest=$(find /etc /var/lib/dpkg /var/lib/apt /var/log -maxdepth 1 -type f -printf '%T@\n' 2>/dev/null | sort -n | tail -1)
  newest=${newest%.*}
  [ -n "$newest" ] && [ "$newest" -gt $((now + 86400)) ] && say clock "$(date '+%Y-%m-%d')" "$(date -d "@$newest" '+%Y-%m-%d')"
}
worked() { # processor time, in ticks, of a process and of those below it
  local all=$1 pid
  for pid in $(ps -eo pid=,ppid= 2>/dev/null | awk -v top="$1" '{ above[$1] = $2 } END { for (p in above) { q = p; while (q in above && q != top) q = above[q]; if (q == top && p != top) print p } }'); do all="$all $pid"; done
  for pid in $all; do awk '{ sub(/.*\) /, ""); print $12 + $13 + $14 + $15 }' "/proc/$pid/stat" 2>/dev/null; done | awk '{ n += $1 } END { print n + 0 }'
}
idle() { # whether it used no processor time for two seconds
  local before
  before=$(worked "$1")
  sleep 2
  if [ "$before" = "$(worked "$1")" ]; then echo idle; else echo working; fi
}
lock() {
  local file inode pid where name age
  local -A does # a process is watched once, however many locks it holds
  for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock $PATHS; do
    [ -f "$file" ] || continue
    inode=$(stat -c %i "$file" 2>/dev/null)
    while read -r _ kind _ _ pid where _; do
      [ "$kind" != "->" ] && [ "${where##*:}" = "$inode" ] && [ "$pid" -gt 0 ] || continue
      name=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) age=$(ps -o etime= -p "$pid" 2>/dev/null)
      [ -n "${does[$pid]}" ] || does[$pid]=$(idle "$pid")
      say holder "$file" "$pid" "$(echo ${name:-$(cat "/proc/$pid/comm" 2>/dev/null)})" "$(echo ${age:-some time})" "${does[$pid]}"
    done 2>/dev/null </proc/locks
  done
}
port() {
  local n
  for n in $NUMBERS; do
    { sudo -n ss -Hltnp "sport = :$n" 2>/dev/null </dev/null || ss -Hltnp "sport = :$n" 2>/dev/null; } | head -1 | while read -r line; do
      say listener "$n" "$(sed -nE 's/.*\(\("([^"]+)",pid=([0-9]+).*/\1 (process \2)/p' <<<"$line" | grep . || echo another program)"
    done
  done
}
limits() { local what; for what in n f v s u; do echo "$what $(ulimit -S -"$what" 2>/dev/null)"; done; }
limited() { # what this shell, or a new terminal, may have little of
  local what value
  { limits; declare -f limits | cat - <(echo limits) | brief 4 env -i HOME="$HOME" TERM=dumb bash -l 2>/dev/null; } | sort -u | while read -r what value; do
    case $what:$value in
      *:unlimited | *:) ;;
      n:*) [ "$value" -lt 256 ] && say limit "the number of open files" "$value" ;;
      f:*) [ "$value" -lt 500000 ] && say limit "the size of a file" "$value blocks" ;;
      v:*) [ "$value" -lt 2000000 ] && say limit "memory" "$value KB" ;;
      s:*) [ "$value" -lt 1024 ] && say limit "the stack (memory)" "$value KB" ;;
      u:*) [ "$value" -lt 100 ] && say limit "the number of processes" "$value" ;;
    esac
  done
}
memory() {
  local what place limit
  limited
  # what the kernel said lately: a kill of this morning explains nothing
  dmesg 2>/dev/null | awk -v up="$(cut -d. -f1 /proc/uptime)" 'tolower($0) ~ /killed process|oom-kill/ && match($0, /[0-9]+\.[0-9]+/) && substr($0, RSTART) + 600 > up' |
    tail -1 | while read -r what; do say oom "the kernel says: ${what:0:160}"; done
  { # its control group counts it: of version 2, of version 1; in a container the group is mounted as if it were the first
    sed -nE 's#^0::#/sys/fs/cgroup#p; s#^[0-9]+:([^:]*,)?memory(,[^:]*)?:#/sys/fs/cgroup/memory#p' /proc/self/cgroup
    printf '/sys/fs/cgroup\n/sys/fs/cgroup/memory\n'
  } 2>/dev/null | while read -r place; do
    cat "$place/memory.events" "$place/memory.oom_control" 2>/dev/null | grep -qE '^oom_kill [1-9]' || continue
    limit=$(cat "$place/memory.max" "$place/memory.limit_in_bytes" 2>/dev/null | head -1)
    case $limit in '' | max | ????????????????*) say oom "its control group counts it" ;; *) say oom "its control group may have $((limit / 1048576)) MB" ;; esac
    break
  done
  awk '/MemTotal/ { t = $2 } /MemAvailable/ { a = $2 } END { if (t && a < 300000) printf "cause\tmemory\t%d\t%d\n", a / 1024, t / 1024 }' /proc/meminfo 2>/dev/null
}
packages() {
  local file line list
  command -v dpkg >/dev/null || return
  list=$(brief 5 dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk 'substr($1, 2, 1) ~ /[UFHWtu]/ || $1 ~ /R$/ { printf "%s ", $NF }')
  [ -n "$list" ] && say halfway "${list% }"
  list=$(brief 5 apt-mark showhold 2>/dev/null | tr '\n' ' ')
  [ -n "${list% }" ] && say holds "${list% }"
  grep -lsE '^Pin' /etc/apt/preferences /etc/apt/preferences.d/* 2>/dev/null | while read -r file; do say pins "$file" "$(grep -hsE '^#' "$file" | head -2 | tr -d '#' | tr '\n' ' ' | sed 's/^ *//; s/ *$//')"; done
  grep -qsE '^[[:space:]]*(deb[[:space:]]|URIs:)' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || say sourceless "neither /etc/apt/sources.list nor sources.list.d names one"
  file=/var/lib/dpkg/status
  if [ ! -e "$file" ]; then say status "$file" "is not there"
  elif [ ! -s "$file" ]; then say status "$file" "is empty"
  elif ! brief 8 dpkg --audit >/dev/null 2>&1; then
    line=$(dpkg --audit 2>&1 | grep -m1 -iE 'pars|status|error')
    case $line in *status*|*pars*) say status "$file" "cannot be read: ${line:0:120}" ;; esac
  fi
  while read -r line _; do [ -n "$line" ] && [ "${line#\#}" = "$line" ] && ! getent passwd "$line" >/dev/null && say override "$line"; done 2>/dev/null </var/lib/dpkg/statoverride
  line=$(brief 5 dpkg --audit 2>&1) # it names the file, or only the word it does not know
  { grep -oE '/etc/dpkg/dpkg\.cfg[^ :,]*' <<<"$line"; [[ $line == *"unknown "*option* ]] && grep -lsvE '^ *(#|$)' /etc/dpkg/dpkg.cfg.d/*; } | head -1 | while read -r file; do say option "$file" "$(grep -vE '^ *(#|$)' "$file" | head -2 | tr '\n' ' ')"; done
  for file in /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/lib/dpkg/updates /var/lib/dpkg/info /var/log/apt; do [ -d "$file" ] || say folder "$file"; done
  for file in /usr/share/keyrings /etc/apt/trusted.gpg.d; do
    [ -d "$file" ] || continue
    if [ ! -x "$file" ] || find "$file" -maxdepth 0 ! -perm -o=x | grep -q .; then say key "$file" "cannot be read by apt (mode $(stat -c %a "$file"))"
    elif ! compgen -G "$file/*" >/dev/null; then [ "$file" = /etc/apt/trusted.gpg.d ] && say key "$file" "are gone"
    else find "$file" -name '*.[ga][ps][gc]' ! -perm -o=r 2>/dev/null | grep -q . && say key "$file" "cannot be read by apt (mode $(find "$file" -name '*.[ga][ps][gc]' ! -perm -o=r -printf '%m\n' 2>/dev/null | head -1))"; fi
  done
  dpkg --print-foreign-architectures 2>/dev/null | while read -r line; do say architecture "$line"; done
}
built_for() { # the machine an ELF program is built for, where that is not this one (elf(5), e_machine)
  local kind
  [ "$(head -c 4 "$1" 2>/dev/null | tail -c 3)" = ELF ] || return
  kind=$(od -An -tu2 -j18 -N2 "$1" 2>/dev/null | tr -d ' ')
  case $(uname -m):$kind in
    x86_64:62 | aarch64:183 | i?86:3 | arm*:40 | riscv64:243) return ;;
    *:3) [ -e /lib/ld-linux.so.2 ] || say machine "$1" "32-bit x86 (its loader /lib/ld-linux.so.2 is not there)" ;;
    *:62) say machine "$1" x86_64 ;;
    *:183) say machine "$1" "aarch64 (arm64)" ;;
    *:40) say machine "$1" "32-bit arm" ;;
    *) say machine "$1" "another processor" ;;
  esac
}
fresh_path() { # PATH as a new terminal of this user has it
  brief 5 env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" TERM=dumb bash -lc 'echo "==$PATH"' </dev/null 2>/dev/null | sed -n 's/^==//p' | tail -1
}
sound() { # a program that tells its version, in whatever way it is asked for it
  local word
  for word in --version version -version; do brief 5 "$1" "$word" >/dev/null 2>&1 </dev/null && return; done
  return 1
}
programs() {
  local p w path first line at fresh
  fresh=$(fresh_path)
  for p in $PATHS ./$WORDS; do p=${p/#\~/$HOME}; [ -f "$p" ] && built_for "$p"; done
  for w in $WORDS; do path=$(type -P "$w" 2>/dev/null) && built_for "$(readlink -f "$path")"; done
  for p in $PATHS; do
    p=${p/#\~/$HOME} p=${p/#\$HOME/$HOME}
    while [ ! -e "$p" ] && [ ! -L "$p" ] && [ "$p" != / ]; do p=$(dirname "$p"); done # a directory on the way may be the link
    [ -L "$p" ] && [ ! -e "$p" ] && say dangling "$p" "$(readlink "$p")"
  done
  for w in $WORDS; do
    path=$(type -P "$w" 2>/dev/null || PATH=$fresh type -P "$w" 2>/dev/null)
    if [ -z "$path" ]; then
      case $w in
        *.*) ;;
        *) tr : '\n' <<<"$HOME/.local/bin:/usr/local/bin:$fresh:$PATH" | awk 'NF && !seen[$0]++' | while read -r at; do
            at=$at/$w
            [ -L "$at" ] && [ ! -e "$at" ] && say dangling "$at" "$(readlink "$at")"
          done
          at=$(find "$HOME/.local/bin" "$HOME/bin" /usr/local/bin /usr/sbin /sbin /opt/*/bin /usr/games -maxdepth 1 -name "$w" 2>/dev/null | head -1)
          if [ -n "$at" ]; then say elsewhere "$at" "${at%/*}"; fi ;;
      esac
      continue
    fi
    at=$(readlink -f "$path")
    line=$(head -c 256 "$at" 2>/dev/null | head -1 | tr -d '\0')
    case $line in
      '#!'*) first=${line#\#!} first=${first# } first=${first%% *} first=${first%$'\r'}
        [ -e "$first" ] || say interpreter "$path" "$first"
        [ -L "$first" ] && [ ! -e "$first" ] && say dangling "$first" "$(readlink "$first")"
        # `#!/usr/bin/env node`: what PATH has first by that name has to run
        case $line in *'/env '*) first=${line##*/env } first=${first#-S } first=${first%% *} at=$(PATH=$fresh type -P "$first" 2>/dev/null)
          [ -z "$at" ] || sound "$at" || say broken "$at" ;; esac
        case $line in *$'\r') say crlf "$path" ;; esac ;;
    esac
    case $w in python* | pip* | node | npm | npx | make | cc | gcc | g++ | git | curl | wget | tar | perl | ruby | java | go | cargo)
      sound "$path" || say broken "$path" ;;
    esac
  done
  for w in $WORDS; do for at in "$HOME/.local/bin" "$HOME/bin" /usr/local/bin; do [ -d "$at/$w" ] && say taken "$at/$w"; done; done
  for p in $PATHS; do [ -f "$p" ] && head -1 "$p" 2>/dev/null | grep -q $'^#!.*\r' && say crlf "$p"; done
}
settings() { # variables and files of this user's that lead nowhere or turn programs round
  local name value part
  for name in $(compgen -e); do
    case $name in PATH | HOME | PWD | OLDPWD | SHELL | USER | LOGNAME | MAIL | _ | *KEY* | *TOKEN* | *SECRET* | *PASS* | LS_COLORS | XDG_* | SSH_* | DBUS* | WINDOWID | INVOCATION_ID | SKILLRUN*) continue ;; esac
    value=${!name}
    case $name in PYTHON* | PIP_* | UV_* | NODE_* | npm_* | NPM_* | LD_* | CC | CXX | CFLAGS | TMP* | TEMP | SSL_* | CURL_* | REQUESTS_* | GIT_* | GO* | CARGO* | RUST* | JAVA* | PERL* | RUBY* | GEM* | MAKE* | DESTDIR | PKG_CONFIG* | CMAKE*) ;; *) case " $PATHS " in *" ${value%%:*}"*) ;; *) continue ;; esac ;; esac
    case $value in /?*) [ -e "${value%%:*}" ] || say variable "$name" "${value%%:*}" ;; esac
  done
  for name in PYTHONHOME PYTHONPATH LD_LIBRARY_PATH LD_PRELOAD NODE_OPTIONS CC CFLAGS CXX LDFLAGS MAKEFLAGS DESTDIR PIP_TARGET PIP_PREFIX PIP_INDEX_URL PIP_NO_INDEX PIP_REQUIRE_VIRTUALENV npm_config_registry npm_config_prefix; do
    value=${!name}
    [ -n "$value" ] && printf 'cause\tsetting\t%s\t%s\n' "The environment" "$name=${value:0:80}"
  done
  case " $WORDS " in
    *pip* | *python*) for name in "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do grep -hsE '^ *(index-url|no-index|target|prefix|user|require|constraint|find-links|no-binary|only-binary|proxy|cert|timeout)' "$name" 2>/dev/null | head -2 | while read -r value; do case $value in *@*) value='(an address with a password)' ;; esac; say setting "$name" "$value"; done; done ;;
  esac
  case " $WORDS " in
    *npm* | *npx*) grep -hsvE '^ *[#;]|_auth|assword' "$HOME/.npmrc" 2>/dev/null | head -3 | while read -r value; do say setting "$HOME/.npmrc" "$value"; done ;;
  esac
}
locale_set() {
  local name value
  for name in LC_ALL LANG LC_CTYPE; do
    value=${!name}
    case $value in '' | C | POSIX | C.*) continue ;; esac
    locale -a 2>/dev/null | grep -qix "$(sed 's/UTF-8/utf8/' <<<"$value")" || say locale "$name" "$value"
  done
}
terminal() { # does a login shell of this user come up, and which file keeps it from that?
  local shell file said code=0 nobody typist
  shell=$(getent passwd "$(id -un)" 2>/dev/null | cut -d: -f7)
  case $shell in '' | *nologin | *false) shell=/bin/bash ;; esac
  if [ ! -e "$shell" ]; then say shell "$shell" "is not there"; return; fi
  if [ ! -x "$shell" ]; then say shell "$shell" "may not be executed"; return; fi
  # nothing to read, and no end of it, as at a terminal where nobody types
  exec {nobody}< <(exec sleep 20 2>/dev/null)
  typist=$!
  said=$(brief 6 env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" TERM=dumb PATH=/usr/local/bin:/usr/bin:/bin "$shell" -lc 'echo ==up==' <&"$nobody" 2>&1) || code=$?
  case $said in
    *==up==*) case $said in *'syntax error'*) profile_file "$said" "has a syntax error" ;; esac ;;
    *) if ! brief 4 "$shell" -c : <&"$nobody" >/dev/null 2>&1; then say shell "$shell" "does not run"
      elif [ "$code" = 124 ]; then profile_file "" "does not come to an end (it waits, or goes round)"; else profile_file "$said" "ends the shell (exit $code)"; fi ;;
  esac
  kill "$typist" 2>/dev/null
  exec {nobody}<&-
  limited
}
profile_file() { # the file the trace was in last, of those a login shell reads
  local trace file
  trace=$(brief 4 env -i HOME="$HOME" USER="$(id -un)" LOGNAME="$(id -un)" TERM=dumb PATH=/usr/local/bin:/usr/bin:/bin PS4='+${BASH_SOURCE} ' bash -lxc true <&"$nobody" 2>&1 | grep -oE '^\++[^ ]+|^[^ :]+: line [0-9]+' | grep -v bash_logout | tail -1)
  file=$(sed -E 's/^\++//; s/: line.*//' <<<"$trace")
  [ -n "$1" ] && file=$(grep -oE '(/[^ :]*|\.)?(bash_profile|bash_login|profile|bashrc|profile\.d/[^ :]+): line' <<<"$1" | head -1 | sed 's/: line//' | grep . || echo "$file")
  case $file in '' | bash) for file in "$HOME/.bash_profile" "$HOME/.bash_login" "$HOME/.profile"; do [ -e "$file" ] && break; done ;; esac
  say profile "$file" "$2"
}
