#!/bin/sh
# Stands in for systemctl, service and the like inside a copy-on-write view, where the machine's own
# service manager is out of reach. Files are changed at once, the rest is noted for after the commit.
name=${0##*/}
real=/dev/skillrun/real/$name

note() {
    printf '%s\0' "$#" "$PWD" "$@" >>/dev/skillrun/deferred
    echo "in the preview: '$*' will be done after the commit" >&2
}

offline() {
    SYSTEMD_OFFLINE=1 exec "$real" "$@"
}

verb= now= user=
words() { # the verb, and whether --now was asked for
    while [ $# -gt 0 ]; do
        case $1 in
        --now) now=1 ;;
        --user) user=--user ;;
        -H | -M | -t | -p | -s | -n | -o | -P) shift ;;
        -*) ;;
        *) [ -n "$verb" ] || verb=$1 ;;
        esac
        [ $# -gt 0 ] && shift
    done
}

case $name in
systemctl) ;;
service | rc-service)
    for action; do :; done
    case $* in
    *status*) echo "services do not run in a preview" >&2; exit 3 ;;
    *--status-all* | *--list* | -l* | *--help* | *--version* | '') exec "$real" "$@" ;;
    esac
    note "$name" "$@"
    exit 0
    ;;
*)
    note "$name" "$@"
    exit 0
    ;;
esac

words "$@"
case $verb in
enable | disable | mask | unmask | preset | reenable | revert | link | add-wants | add-requires | set-default)
    rest=
    for word; do # the same words without --now, kept apart safely
        [ "$word" = --now ] || rest="$rest '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
    done
    eval "SYSTEMD_OFFLINE=1 '$real' $rest" || exit
    note systemctl $user daemon-reload
    if [ -n "$now" ]; then
        case $verb in disable | mask) action=stop ;; *) action=start ;; esac
        seen=
        for word; do
            shift
            case $word in
            -*) ;;
            "$verb") if [ -z "$seen" ]; then seen=1; else set -- "$@" "$word"; fi ;;
            *) set -- "$@" "$word" ;;
            esac
        done
        note systemctl $user "$action" "$@"
    fi
    ;;
is-enabled | list-unit-files | cat | get-default | help | '') offline "$@" ;;
is-active) echo inactive; echo "services do not run in a preview" >&2; exit 3 ;;
is-failed) echo inactive; exit 1 ;;
is-system-running) echo offline; exit 1 ;;
status) echo "services do not run in a preview" >&2; exit 3 ;;
show) printf 'LoadState=loaded\nActiveState=inactive\nSubState=dead\n' ;;
list-* | show-environment) ;;
*) note systemctl "$@" ;;
esac
