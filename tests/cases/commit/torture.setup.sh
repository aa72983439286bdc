# A tree with one specimen of everything that torture.sh is going to change. Runs in an empty directory.
set -eu
umask 022
mkdir -p stays mode owner attr opaque/inner gone/inner to-file to-link/x moved/inner times deep/1/2/3
for name in changed appended mode-only owner-only deleted to-dir to-link-file retimed in-place same moving; do echo "$name" > "$name"; done
echo old > opaque/old; echo old > opaque/inner/old; echo x > gone/inner/x; echo x > to-file/x; echo x > to-link/x/x; echo x > moved/inner/x
echo kept > stays/kept; echo deep > deep/1/2/3/leaf; echo t > times/entry
echo linked > link-1; ln link-1 link-2; echo linked > pair-1; ln pair-1 pair-2; echo linked > trio-1; ln trio-1 trio-2
echo replaced > swap-1; ln swap-1 swap-2
echo linked > quad-1; ln quad-1 quad-2; ln quad-1 deep/quad-3; echo linked > duo-1; ln duo-1 duo-2
ln -s changed sym; ln -s stays sym-dir; ln -s nowhere sym-dead
echo x > attributed; xset attributed user.kept 1; xset attributed user.changed 1; xset attributed user.dropped 1
echo x > listed; acl listed access 1234 4
cp /bin/true program; cp /bin/true capable
mkfifo pipe
truncate -s 8M sparse; printf tail >> sparse
printf n > "$(printf 'new\nline')"; printf n > 'sp ace'; printf n > 'back\slash'; printf n > 'st*r'; printf n > "$(printf 'latin-\351')"; printf n > ./-dash
printf lower > case; printf upper > CASE
touch -d '2020-01-02 03:04:05.678' changed retimed stays/kept times stays
[ "$(id -u)" != 0 ] || chown 1000:1000 owner-only owner
