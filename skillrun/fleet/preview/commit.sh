# Carry a view's changes over, so that a cut at any moment can be finished, and take them back. Given: S (the record's
# directory), what (prepare, carry, finish, edited, undo, look); for `prepare` D, inside, and on standard input the paths: `+ PATH`
# comes or changes (`~ PATH`: unless the machine changed it meanwhile), `- PATH` goes; for `undo` keep (lines: what stays).
# A line that begins with E is an error, C a path that changed meanwhile, L one that had to stay, P how far it is.
set -f
there() { [ -e "$1" ] || [ -L "$1" ]; }
extra= listed=-T
if tar --version 2> /dev/null | grep -q GNU; then
    extra="--xattrs --xattrs-include=security.capability" listed="--no-unquote -T"
fi
case $what in
prepare)
    umask 077
    mkdir -p "$S" || { echo "E $S cannot be made"; exit 1; }
    : > "$S/come"; : > "$S/go"; : > "$S/new"; : > "$S/had"
    since=$(cat "$D/since")
    while IFS= read -r line; do
        path=${line#? }
        case $line in # logs and caches: the machine's own later version stays
        '~ '*) if there "$path" && [ ! -d "$path" ] && [ "$(stat -c %Z "$path")" -ge "$since" ]; then continue; fi ;;
        esac
        case $line in
        [+~]' '*) printf '%s\n' ".$path" >> "$S/come" ;;
        *) printf '%s\n' ".$path" >> "$S/go" ;;
        esac
        if there "$path"; then
            printf '%s\n' ".$path" >> "$S/had"
            [ -d "$path" ] || [ "$(stat -c %Z "$path")" -lt "$since" ] || [ "${line%% *}" = "~" ] || echo "C $path"
        else
            printf '%s\n' ".$path" >> "$S/new"
        fi
    done > "$S/clashes"
    if [ -s "$S/clashes" ]; then cat "$S/clashes"; rm -rf "$S"; exit 1; fi
    tar -C / -c --numeric-owner --no-recursion $extra $listed "$S/had" -f "$S/before.tar" 2> "$S/errors" &&
        tar -C "/proc/$inside/root" -c --numeric-owner --no-recursion $extra $listed "$S/come" -f "$S/after.tar" 2> "$S/errors" ||
        { echo "E $(tail -n 1 "$S/errors")"; rm -rf "$S"; exit 1; }
    sync "$S/before.tar" "$S/after.tar" 2> /dev/null || sync
    echo prepared > "$S/phase"
    sync "$S/phase" 2> /dev/null || sync
    ;;
carry|finish) # from the record alone: whoever comes next can do it again, once whoever is at it has ended
    trap '' HUP PIPE
    exec 9> "$S/lock" && { flock 9 2> /dev/null || :; }
    if [ "$what" = finish ] && [ "$(cat "$S/phase")" != carrying ]; then cat "$S/phase" | sed 's/^/P /'; exit 0; fi
    echo carrying > "$S/phase"
    sync "$S/phase" 2> /dev/null || sync
    sort -r "$S/go" | while IFS= read -r path; do
        path=${path#.}
        if [ -d "$path" ] && [ ! -L "$path" ]; then rmdir "$path"; else rm -f "$path"; fi 2> /dev/null
    done
    tar -C / -x -p --numeric-owner $extra -f "$S/after.tar" 2> "$S/errors" || { echo "E $(tail -n 1 "$S/errors")"; exit 1; }
    cd / || exit 1
    set +f
    while IFS= read -r path; do
        [ ! -f "$path" ] || [ -L "$path" ] || sha256sum "$path"
    done < "$S/come" > "$S/sums"
    sync
    echo committed > "$S/phase"
    ;;
edited) # what was changed since, of what the commit wrote
    cd / && sha256sum -c "$S/sums" 2> /dev/null | sed -n 's/^\.\(.*\): FAILED.*$/\1/p'
    ;;
undo) # what was edited since and is put back is kept beside, in later.tar
    trap '' HUP PIPE
    cd / || exit 1
    echo undoing > "$S/phase"
    printf '%s\n' "$keep" > "$S/keep"
    umask 077
    sha256sum -c "$S/sums" 2> /dev/null | sed -n 's/^\(.*\): FAILED.*$/\1/p' | while IFS= read -r path; do
        grep -qxF "${path#.}" "$S/keep" || ! there "$path" || tar -C / -r -f "$S/later.tar" "$path"
    done
    sort -r "$S/new" | while IFS= read -r path; do
        ! grep -qxF "${path#.}" "$S/keep" || continue
        if [ -d "$path" ] && [ ! -L "$path" ]; then rmdir "$path" || echo "L ${path#.}"; else rm -f "$path"; fi 2> /dev/null
    done
    sed -n 's/^./.&/p' "$S/keep" > "$S/not"
    tar -C / -x -p --numeric-owner $extra -X "$S/not" --no-wildcards -f "$S/before.tar" 2> "$S/errors" ||
        { echo "E $(tail -n 1 "$S/errors")"; exit 1; }
    sync
    echo undone > "$S/phase"
    ;;
esac
cat "$S/phase" 2> /dev/null | sed 's/^/P /'
