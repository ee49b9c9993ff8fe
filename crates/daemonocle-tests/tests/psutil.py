# Answers about processes as psutil sees them: a PID per line in, a line of JSON out.
import json
import os
import sys
import time

import psutil


def answer(pid):
    # As the original has them, but memory by proportional shares.
    group = []
    for other in psutil.process_iter():
        try:
            if os.getpgid(other.pid) == os.getpgid(pid):
                group.append(other)
        except OSError:
            pass
    used = sum(member.cpu_percent(0.1) for member in group)
    # The rest at once, because whoever compares does not know how it changes.
    process = psutil.Process(pid)
    memory = sum(member.memory_full_info().pss for member in group)
    facts = process.as_dict()
    # Renamed in version 6, and since then not among those of as_dict() under its old name.
    connections = getattr(process, 'net_connections', None) or process.connections
    # What has no order of its own is sorted by its first number.
    facts['connections'] = facts['net_connections'] = sorted(connections(), key=lambda c: c.fd)
    facts['open_files'].sort(key=lambda file: file.fd)
    facts['threads'].sort()
    facts['cpu_percent'] = used
    facts['memory_percent'] = round(100 * memory / psutil.virtual_memory().total, 3)
    facts['group_num_procs'] = len(group)
    facts['uptime'] = time.time() - facts['create_time']
    return facts


print(psutil.version_info[0], flush=True)
for line in sys.stdin:
    print(json.dumps(answer(int(line))), flush=True)
