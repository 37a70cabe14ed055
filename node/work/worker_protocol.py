"""What a supervised worker tells its parent: a line on standard output, an exit code."""

READY = b"ready\n"
UNUSABLE = 78  # EX_CONFIG of sysexits.h: starting again cannot help; the last line of output says why
