#!/bin/sh
# invoke-rc.d and deb-systemd-invoke ask here whether they may touch a service (policy-rc.d(8)).
# 101: no, by policy. In a copy-on-write view the answer is: after the commit.
while [ $# -gt 0 ]; do
    case $1 in --quiet | --list) shift ;; *) break ;; esac
done
[ $# -ge 2 ] || exit 101
unit=$1 action=${2%% *}
action=${action#\(} action=${action%\)} # in parentheses: not for this runlevel, which inside is never known
case $action in
start | restart | reload | force-reload | try-restart | stop)
    case $unit in
    *.service | *.socket | *.timer | *.path | *.target | *.mount) set -- deb-systemd-invoke "$action" "$unit" ;;
    *) set -- invoke-rc.d "$unit" "$action" ;;
    esac
    printf '%s\0' "$#" "$PWD" "$@" >>/dev/skillrun/deferred
    echo "in the preview: '$action $unit' will be done after the commit" >&2
    ;;
esac
exit 101
