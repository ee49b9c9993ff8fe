# The fixture program, with the Python library in the place of ours: the same definitions by the same
# variables, as far as both know them.
import os
import signal
import sys
import time

import daemonocle
from daemonocle.helpers import ExecWorker, FHSDaemon, MultiDaemon


def text(name):
    return os.environ.get('FIXTURE_' + name)


def sleep():
    while True:
        time.sleep(3600)


def say():
    print('out', flush=True)
    print('err', file=sys.stderr, flush=True)


def stubborn():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sleep()


def work():
    if text('TRIGGER'):
        # Opening blocks until there is a writer.
        open(text('TRIGGER')).read()
    name = text('WORKER')
    if name in ('sleep', 'polite', 'ready'):
        sleep()
    elif name == 'print':
        say()
        sleep()
    elif name == 'stubborn-sleep':
        stubborn()
    elif name == 'end-code':
        sys.exit(42)
    elif name == 'end-message':
        sys.exit('no more cookies')
    elif name == 'end-kill':
        os.kill(os.getpid(), signal.SIGKILL)
    elif name != 'end-ok':
        raise ValueError(name)


work.__doc__ = text('ABOUT')


def shutdown(message, code):
    if text('HOOK_LOG'):
        with open(text('HOOK_LOG'), 'a') as log:
            log.write('%d|%s\n' % (code, message))


definition = {
    'name': None if text('UNNAMED') else text('NAME') or 'example',
    'worker': ExecWorker(*text('EXEC').split('\n')) if text('EXEC') else work,
    'hooks': {'shutdown': shutdown},
    'work_dir': text('WORK_DIR') or '/',
    'umask': int(text('UMASK') or '022', 8),
    'close_open_files': bool(text('CLOSE')),
    'detach': text('DETACH') != 'never',
}
for variable, name in (
    ('STOP', 'stop_timeout'), ('USER', 'uid'), ('GROUP', 'gid'),
):
    if text(variable):
        definition[name] = int(text(variable))
for variable, name in (
    ('PID_FILE', 'pid_file'), ('STDOUT', 'stdout_file'), ('STDERR', 'stderr_file'),
    ('CHROOT', 'chroot_dir'),
):
    if text(variable):
        definition[name] = text(variable)
if text('MULTI'):
    daemon = MultiDaemon(int(text('MULTI')), **definition)
elif text('LAYOUT'):
    definition.update(prefix=text('LAYOUT'), log_prefix=text('LOG_PREFIX') or '')
    daemon = FHSDaemon(**definition)
else:
    daemon = daemonocle.Daemon(**definition)
daemon.cli()
