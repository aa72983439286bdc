# Extended attributes and access lists without the attr and acl packages: xset FILE NAME VALUE, xdrop FILE NAME,
# acl FILE access|default USER PERMISSIONS (a number).
xset() { python3 -c 'import os, sys; os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())' "$@"; }
xdrop() { python3 -c 'import os, sys; os.removexattr(sys.argv[1], sys.argv[2])' "$@"; }
acl() {
  python3 - "$@" <<'P'
import os, struct, sys
path, kind, user, permissions = sys.argv[1:]
none = 0xFFFFFFFF
entries = [(1, 6, none), (2, int(permissions), int(user)), (4, 4, none), (0x10, 7, none), (0x20, 4, none)]
os.setxattr(path, f"system.posix_acl_{kind}", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries))
P
}
