# A copy-on-write view of this machine, put together with util-linux and a POSIX shell alone. It lives as long as somebody
# holds its standard input open. Given: own (not empty: without root, in a user namespace), person, uid, gid, home,
# masked and masked_files (lines), places (words), stand_in and policy (scripts), limit.
fail() { echo "E $*"; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
for program in unshare nsenter mount umount pivot_root setpriv script tar; do
    command -v "$program" > /dev/null || fail "$program is not there"
done
ns="-m -p -f -i -u --propagation private" lower=/ kind=
[ -z "$own" ] || ns="-U --map-root-user $ns" lower=$home kind=userxattr,

clear() { [ -z "$D" ] || { chmod -R u+rwx "$D" 2> /dev/null; rm -rf "$D"; }; }
D= why="no directory takes a file"
for base in $places; do
    [ -d "$base" ] && [ -w "$base" ] || continue
    D=$(umask 077; mktemp -d "$base/.skillrun-view-XXXXXXXX" 2> /dev/null) || continue
    mkdir "$D/up" "$D/wk" "$D/m"
    said=$(unshare $ns mount -t overlay overlay -o "${kind}lowerdir=$lower,upperdir=$D/up,workdir=$D/wk" "$D/m" 2>&1) && break
    why=$(printf '%s' "$said" | head -n 1)
    clear
    D=
done
[ -n "$D" ] || fail "$why"
trap clear EXIT
trap 'exit 1' HUP INT TERM
chmod -R u+rwx "$D" && rm -rf "$D/up" "$D/wk"
: > "$D/said"
date +%s > "$D/since"
export D kind own person uid gid home masked masked_files stand_in policy limit

build='
set -e
m=$D/m n=0 seen=
note() { echo "N $*" >&4; }
escaped() { case $1 in *[,:\\]*) return 1 ;; esac; }
lay() { # an overlay over one place; its changes in a numbered directory
    n=$((n + 1))
    mkdir "$D/$n" "$D/$n/up" "$D/$n/wk"
    chown "$(stat -c %u:%g "$1")" "$D/$n/up" 2> /dev/null || :
    chmod "$(stat -c %a "$1")" "$D/$n/up"
    escaped "$1" && mount -t overlay overlay -o "${kind}lowerdir=$1,upperdir=$D/$n/up,workdir=$D/$n/wk" "$m${1%/}" || return 1
    printf "%s %s\n" "$n" "$1" >> "$D/layers"
}
shown() { # as it is, and nothing of it can be written
    mount --bind "$1" "$m$1" && mount -o remount,bind,ro "$m$1" 2> /dev/null || mount -o bind,ro "$1" "$m$1"
}
unescaped() { # a path as mountinfo has it
    at=$(printf "%b." "$(printf %s "$1" | sed "s/\\\\/&0/g")")
    at=${at%.}
}
if [ -n "$own" ]; then # without root only the home can be covered; all else is read-only, but for empty temporary places
    mount --rbind / "$m"
    while read -r _ _ _ _ at opts _; do
        unescaped "$at"
        case $at in "$m" | "$m"/*) ;; *) continue ;; esac
        case ${at#"$m"}/ in /dev/* | /proc/* | /sys/* | /run/*) continue ;; esac # covered below
        case ",$opts," in *,rw,*) mount -o "remount,bind,ro,${opts#rw,}" "$at" ;; esac
    done < /proc/self/mountinfo
    lay "$home"
    for each in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$m$each"; done
else
lay /
while read -r _ _ _ _ at opts rest; do
    rest=" $rest" fs=${rest#* - }
    fs=${fs%% *}
    unescaped "$at"
    case $at in / | /proc | /proc/* | /sys | /sys/* | /dev | /dev/* | /run | /run/* | "$D" | "$D"/*) continue ;; esac
    case "|$seen|" in *"|$at|"*) continue ;; esac
    seen="$seen|$at"
    [ -e "$m$at" ] || continue
    case ",$opts," in *,ro,*) shown "$at"; continue ;; esac
    case $fs in
    ext2 | ext3 | ext4 | xfs | btrfs | f2fs | tmpfs | overlay | zfs)
        if [ -d "$at" ] && lay "$at" 2> /dev/null; then continue; fi ;;
    esac
    shown "$at" && note "$at is read-only inside ($fs)" || { note "$at is empty inside ($fs)"; mount -t tmpfs -o ro tmpfs "$m$at"; }
done < /proc/self/mountinfo
fi

mount -t tmpfs -o mode=755,size=1m tmpfs "$m/dev"
for each in null zero full random urandom tty; do
    : > "$m/dev/$each"
    mount --bind "/dev/$each" "$m/dev/$each"
done
ln -s /proc/self/fd "$m/dev/fd"; ln -s fd/0 "$m/dev/stdin"; ln -s fd/1 "$m/dev/stdout"; ln -s fd/2 "$m/dev/stderr"
ln -s pts/ptmx "$m/dev/ptmx"
mkdir "$m/dev/pts" "$m/dev/shm" "$m/dev/mqueue" "$m/dev/old"
mount -t devpts -o "newinstance,ptmxmode=0666,mode=620${own:+}" devpts "$m/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$m/dev/shm"

names=$(readlink -f /etc/resolv.conf || :)
case $names in /run/*) kept=$(cat "$names") ;; *) names= ;; esac
booted=; [ ! -d /run/systemd/system ] || booted=1
mount -t tmpfs -o mode=755 tmpfs "$m/run"
mkdir -p "$m/run/lock" "$m/run/user"; chmod 1777 "$m/run/lock"
[ -z "$names" ] || { mkdir -p "$m${names%/*}"; printf "%s\n" "$kept" > "$m$names"; }

if [ -z "$own" ]; then
    mkdir -p "$m/dev/skillrun/real" "$m/dev/skillrun/asked"; chmod 1733 "$m/dev/skillrun/asked"
    printf %s "$stand_in" > "$m/dev/skillrun/stand-in"; chmod 755 "$m/dev/skillrun/stand-in"
    for each in systemctl service rc-service rc-update initctl reboot shutdown poweroff halt; do
        [ "$each" != systemctl ] || [ -n "$booted" ] || continue
        file=$(command -v "$each") || continue
        : > "$m/dev/skillrun/real/$each"
        mount --bind "$file" "$m/dev/skillrun/real/$each"
        mount --bind "$m/dev/skillrun/stand-in" "$m$(readlink -f "${file%/*}")/$each"
    done
    [ -e /usr/sbin/policy-rc.d ] || { printf %s "$policy" > "$m/usr/sbin/policy-rc.d"; chmod 755 "$m/usr/sbin/policy-rc.d"; }
    [ "$uid" = 0 ] || [ ! -d /etc/sudoers.d ] ||
        { printf "%s ALL=(ALL:ALL) NOPASSWD: ALL\n" "$person" > "$m/etc/sudoers.d/zzz-skillrun-view"
          chmod 440 "$m/etc/sudoers.d/zzz-skillrun-view"; }
fi
hide() { [ ! -d "$m$1" ] || [ -L "$m$1" ] || mount -t tmpfs -o ro,size=64k,mode=755 tmpfs "$m$1"; }
hide "$D"; hide /var/lib/skillrun
printf "%s\n" "$masked" > "$D/masked"
while IFS= read -r each; do [ -z "$each" ] || hide "$each"; done < "$D/masked"
: > "$D/empty"; printf "%s\n" "$masked_files" > "$D/masked"
while IFS= read -r each; do
    [ -n "$each" ] || continue
    for file in $m$each; do
        [ ! -f "$file" ] || [ -L "$file" ] || { mount --bind "$D/empty" "$file" && mount -o remount,bind,ro "$file"; }
    done
done < "$D/masked"

mount -t proc proc "$m/proc" 2> /dev/null || { note "/proc cannot be had inside"; exit 1; }
for each in "$m"/proc/*; do
    name=${each##*/}
    case $name in [0-9]*) continue ;; esac
    [ ! -L "$each" ] || continue
    mode=$(stat -c %a "$each")
    if [ -d "$each" ]; then mount --bind "$each" "$each" && mount -o remount,bind,ro "$each"
    else case $name:$mode in
        keys:* | sched_debug:* | latency_stats:* | *[0123]?) mount --bind /dev/null "$each" ;;
        *[2367]?? | *[2367]? | *[2367]) mount --bind "$each" "$each" && mount -o remount,bind,ro "$each" ;;
        esac
    fi
done
if [ -n "$own" ]; then mount --rbind /sys "$m/sys" || :
else mount --bind /sys "$m/sys" && mount -o remount,bind,ro "$m/sys"; fi

cd "$m"
pivot_root . dev/old
cd /
umount -l /dev/old
rmdir /dev/old
if [ -z "$own" ]; then # nobody inside has a right of root over the machine, not even root inside
    unshare -U sleep 2147483647 < /dev/null > /dev/null 2>&1 4>&- 3<&- &
    mine=$(readlink /proc/self/ns/user)
    tries=0
    until now=$(readlink "/proc/$!/ns/user") && [ "$now" != "$mine" ]; do
        [ "$((tries += 1))" -lt 500 ] || { note "no user namespace can be made"; exit 1; }
        sleep 0.02
    done
    for kind in uid gid; do
        while read -r inside _ count; do echo "$inside $inside $count"; done < "/proc/self/${kind}_map" > "/dev/shm/$kind"
        cat "/dev/shm/$kind" > "/proc/$!/${kind}_map"
        rm "/dev/shm/$kind"
    done
fi
echo R >&4
exec 4>&-
while read -r _ <&3; do :; done
'
exec 3<&0
unshare $ns sh -c "$build" 4>> "$D/said" > /dev/null 2> "$D/errors" <&3 &
maker=$!
child() { # the first process whose parent is this one
    for stat in /proc/[0-9]*/stat; do
        { IFS= read -r line < "$stat"; } 2> /dev/null || continue
        line=${line##*) } line=${line#* }
        [ "${line%% *}" != "$1" ] || { stat=${stat#/proc/}; echo "${stat%/stat}"; return 0; }
    done
    return 1
}
until grep -q '^R$' "$D/said"; do
    kill -0 "$maker" 2> /dev/null || fail "$(grep -v -e '^$' -e dmesg "$D/errors" | tail -n 1)"
    sleep 0.05
done
first=$(child "$maker") || fail "the view ended at once"
inside=$first
[ -n "$own" ] || inside=$(child "$first") || fail "the view ended at once"
grep '^N ' "$D/said" || :
echo "V $inside $first $D"
wait "$maker"
