python3 -c "
import os
os.setxattr(\"file\", \"user.test\", b\"other\"); os.setxattr(\"mode\", \"user.new\", b\"1\")
f=os.open(\"file\", os.O_RDWR); os.fchmod(f, 0o600); os.ftruncate(f, 1); os.fsetxattr(f, \"user.more\", b\"2\")
os.rename(\"mode\", \"file\")
os.truncate(\"tree/below/leaf\", 0)
"
