# What a view would change. Given: D, inside (a process of the view), own. A line each: how, then stat's words, then the path.
# A name that is gone is told from what the view shows, so nothing depends on how an overlay notes it.
root=/proc/$inside/root
set -f
there() { [ -e "$1" ] || [ -L "$1" ]; }
words() { stat -c '%f %u %g %s %h %b %Y' "$1"; }
while read -r n at; do
    base=${at%/}
    [ -d "$D/$n/up" ] || continue
    cd "$D/$n/up" || continue
    if [ -n "$(find . -name '*
*' | head -n 1)" ]; then echo "E a name with a line break: it cannot be carried over"; exit 1; fi
    find . -mindepth 1 | while IFS= read -r name; do
        path=$base/${name#./}
        case $path in
        /usr/sbin/policy-rc.d | /etc/sudoers.d/zzz-skillrun-view) there "$path" || continue ;;
        esac
        case $path in /tmp/* | /var/tmp/*) echo "T $path"; continue ;; esac
        there "$root$path" || continue # a name that is gone: told of below
        if ! there "$path"; then
            echo "A - = $(words "$root$path") $path"
        elif [ -d "$name" ] && [ ! -L "$name" ] && [ -d "$path" ] && [ ! -L "$path" ]; then
            [ "$(stat -c '%a %u %g' "$root$path")" = "$(stat -c '%a %u %g' "$path")" ] ||
                echo "M $(words "$path") = $(words "$root$path") $path"
        else
            old=$(stat -c '%f %u %g %s' "$path") new=$(stat -c '%f %u %g %s' "$root$path")
            if [ "$old" = "$new" ]; then
                if [ -L "$path" ]; then [ "$(readlink "$path")" != "$(readlink "$root$path")" ] || continue
                elif [ -f "$path" ]; then ! cmp -s "$path" "$root$path" || continue
                fi
            fi
            echo "M $(words "$path") = $(words "$root$path") $path"
        fi
    done
    find . -type d | while IFS= read -r name; do
        path=$base/${name#./}
        path=${path%/.}
        [ -d "${path:-/}" ] && [ ! -L "$path" ] && [ -d "$root$path" ] || continue
        case $path/ in /tmp/* | /var/tmp/*) continue ;; esac
        set +f
        for each in "$path"/* "$path"/.[!.]* "$path"/..?*; do
            there "$each" || continue
            there "$root$each" || {
                echo "D $(words "$each") = - $each"
                [ ! -d "$each" ] || [ -L "$each" ] || find "$each" -mindepth 1 | while IFS= read -r below; do
                    echo "D $(words "$below") = - $below"
                done
            }
        done
        set -f
    done
done < "$D/layers"
