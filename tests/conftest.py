"""What every test takes for granted of the process it runs in, whoever started it."""

from __future__ import annotations

import signal

for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    # In a shell's background or under nohup these are ignored, by every child too, and nothing could be interrupted.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
