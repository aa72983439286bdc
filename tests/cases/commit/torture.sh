# Every kind of change an installation can make to a tree. Runs in the directory torture.setup.sh prepared.
umask 022
echo new > changed; echo more >> appended; chmod 4711 mode-only; rm deleted
rm to-dir; mkdir to-dir; echo in > to-dir/in; rm to-link-file; ln -s /etc/hostname to-link-file
touch -d '2001-02-03' retimed; chmod 2750 mode; xset attr user.k v
rm -rf opaque; mkdir opaque; echo n > opaque/new; rm -rf gone; rm -rf to-file; echo file > to-file
mv moved moved-away; rm -rf to-link; ln -s stays to-link
printf I | dd of=in-place conv=notrunc 2>/dev/null; echo same > same; mv moving stays/arrived
echo again >> link-1; ln pair-1 pair-3; rm trio-1; echo other > swap-new; mv swap-new swap-1
mv quad-1 quad-4; echo more >> quad-4; rm quad-2; mv duo-1 duo-3; echo y >> duo-3; mv duo-2 stays/duo-4; chmod 600 duo-3
ln -sfn stays/kept sym; rm sym-dead; ln -s further-nowhere dangling
xset attributed user.changed 2; xdrop attributed user.dropped; xset attributed user.added 3
[ "$(id -u)" != 0 ] || acl listed access 1000 6; [ "$(id -u)" != 0 ] || acl stays default 1234 5
chmod u+s program; [ "$(id -u)" != 0 ] || setcap cap_net_raw+ep capable
rm pipe; mkfifo pipe-new; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket-new')"
printf X | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null; truncate -s 20M sparse-new; printf end >> sparse-new
rm "$(printf 'new\nline')"; printf 2 > "$(printf 'newer\nline')"; printf 2 > 'sp ace'; printf 2 > 'back\slash'; printf 2 > 'st*r'
printf 2 > "$(printf 'latin-\351')"; printf 2 > "$(printf 'latin-\352')"; printf 2 > ./-dash; printf 2 > 'ünï'; printf 2 > case; rm CASE
mkdir -p new/a/b/c empty; echo deep > new/a/b/c/deep; chmod 1777 new; chmod 700 new/a
echo one > name-1; ln name-1 name-2; ln name-1 new/a/name-3; ln appended appended-too
mkdir many; for i in $(seq 300); do echo "$i" > "many/$i"; done; chmod 500 many
echo k > stays/passing; rm stays/passing; rm deep/1/2/3/leaf; echo deeper > deep/1/2/3/other
mkdir -p was-here; rmdir was-here; echo a > flip; rm flip; mkdir flip; rmdir flip; ln -s x flip
[ "$(id -u)" != 0 ] || { chown 1234:4321 owner-only; chown 1234 owner; chown 55:66 new/a/b; chown -h 12:34 sym; mknod device c 1 3; }
true
