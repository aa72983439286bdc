#!/bin/sh
# invoke-rc.d and deb-systemd-invoke ask here whether they may touch a service (policy-rc.d(8)).
# 101: no, by policy. In a copy-on-write view the answer is: after the commit.
note() { # a file of one's own in a directory that only root reads; its owner says who asked
    number=0
    until (
        umask 077
        set -C
        printf '%s\0' "$#" "$@" >"/dev/skillrun/asked/$$-$number"
    ) 2>/dev/null; do
        number=$((number + 1))
        [ $number -lt 100 ] || { echo "'$*' cannot be noted for after the commit" >&2; return 1; }
    done
    echo "in the preview: '$action $unit' will be done after the commit" >&2
}
while [ $# -gt 0 ]; do
    case $1 in --quiet | --list) shift ;; *) break ;; esac
done
[ $# -ge 2 ] || exit 101
unit=$1 action=${2%% *}
action=${action#\(} action=${action%\)} # in parentheses: not for this runlevel, which inside is never known
case $action in
start | restart | reload | force-reload | try-restart | stop)
    case $unit in
    *.service | *.socket | *.timer | *.path | *.target | *.mount) note deb-systemd-invoke "$action" "$unit" ;;
    *) note invoke-rc.d "$unit" "$action" ;;
    esac
    ;;
esac
exit 101
