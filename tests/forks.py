"""A command that starts as many processes as it may, up to 2,000, and prints how many there were."""

FORKS = """python3 -c '
import os, time  # forks-of-a-look
n = 0
try:
    while n < 2000:
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError:
    pass
print(n)'"""
