#!/bin/sh
# Stands in for systemctl, service and the like inside a copy-on-write view, where the machine's own
# service manager is out of reach. Files are changed at once, the rest is noted for after the commit.
name=${0##*/}
real=/dev/skillrun/real/$name

put() { # a file of one's own in a directory that only root reads; its owner says who asked
    number=0
    until (
        umask 077
        set -C
        printf '%s\0' "$#" "$@" >"/dev/skillrun/asked/$$-$number"
    ) 2>/dev/null; do
        number=$((number + 1))
        [ $number -lt 100 ] || { echo "'$*' cannot be noted for after the commit" >&2; exit 1; }
    done
}

note() {
    [ -n "$user" ] || [ "$(id -u)" = 0 ] || refuse "$@"
    put "$@"
    echo "in the preview: '$*' will be done after the commit" >&2
}

refuse() {
    put "$@" # told to whoever decides on the commit
    echo "in a preview '$*' is not done, and after the commit only starting, stopping, enabling and reloading is, as root" >&2
    exit 1
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
    esac
    case $action in
    start | stop | restart | try-restart | condrestart | reload | force-reload) note "$name" "$@" ;;
    *) exec "$real" "$@" ;; # a list, a test of the configuration
    esac
    exit
    ;;
rc-update)
    case $1 in
    add | del | delete) note "$name" "$@" ;;
    *) exec "$real" "$@" ;;
    esac
    exit
    ;;
*) refuse "$name" "$@" ;;
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
start | stop | restart | try-restart | condrestart | reload | force-reload | reload-or-restart | try-reload-or-restart | \
    reset-failed | daemon-reload | daemon-reexec) note systemctl "$@" ;;
*) refuse systemctl "$@" ;;
esac
