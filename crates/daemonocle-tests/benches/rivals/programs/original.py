"""A daemon by the Python original, as job.h has it in C."""

import os
import signal
import socket
import sys
import time

import daemonocle


def worker():
    time.sleep(int(os.environ.get("JOB_SETUP") or 0) / 1000)
    if "JOB_FAIL" in os.environ:
        raise daemonocle.DaemonError("the database is not there")
    bell = os.environ.get("JOB_BELL")
    if bell:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.sendto(f"{os.getpid()} {time.time_ns()}".encode(), bell)
    while True:
        signal.pause()


daemon = daemonocle.Daemon(name="job", worker=worker, pid_file=os.environ["JOB_PID_FILE"])
daemon.do_action(sys.argv[1])
