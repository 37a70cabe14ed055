"""Run as a program: a listener in its own process. Prints its port; appends each acknowledged UID to a file.

Arguments: the store, the file of UIDs, the size in bytes beyond which no file can grow (-1: none).
"""

import os
import resource
import sys
import threading
from pathlib import Path

from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.store import FileStore, InstanceHeader


def main(root: Path, index: Path) -> None:
    def record(header: InstanceHeader, calling_ae: str) -> None:
        with index.open("a") as file:
            file.write(header.sop_instance_uid + "\n")
            file.flush()
            os.fsync(file.fileno())

    listener = DicomListener(
        ListenerConfig(port=0),
        FileStore(root, reserve_bytes=0),
        record,
        lambda series: None,
        lambda error: getattr(error, "status", 0x0110),
    )
    listener.start()
    sys.stdout.write(f"{listener.port}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    limit = int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
