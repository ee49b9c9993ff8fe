/*
 * The least that a program must do to start and stop a daemon, as a measure of what more costs.
 *
 *   baseline start FILE    pipe, fork, setsid, fork, lock and write the PID file, /dev/null on the
 *                          standard streams, report; the parent waits for the report
 *   baseline stop FILE     read the PID, SIGTERM through a pidfd, wait for the end, unlink
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job.h"

static void be_daemon(const char *path, int report)
{
	char text[16];
	int file, null, length;

	if (chdir("/") == -1)
		err(1, "chdir");
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (file == -1 || flock(file, LOCK_EX | LOCK_NB) == -1)
		err(1, "%s", path);
	length = snprintf(text, sizeof text, "%d\n", (int)getpid());
	if (ftruncate(file, 0) == -1 || write(file, text, length) != length)
		err(1, "%s", path);
	if (!job_set_up())
		exit(1);
	null = open("/dev/null", O_RDWR);
	if (null == -1)
		err(1, "/dev/null");
	for (int stream = 0; stream < 3; stream++)
		if (dup2(null, stream) == -1)
			err(1, "dup2");
	close(null);
	if (write(report, "", 1) != 1)
		exit(1);
	close(report);
	for (;;)
		pause();
}

static int start(const char *path)
{
	int ends[2];
	pid_t child;
	char byte;

	if (pipe2(ends, O_CLOEXEC) == -1)
		err(1, "pipe");
	child = fork();
	if (child == -1)
		err(1, "fork");
	if (child == 0) {
		close(ends[0]);
		if (setsid() == -1)
			err(1, "setsid");
		child = fork();
		if (child == -1)
			err(1, "fork");
		if (child == 0)
			be_daemon(path, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (waitpid(child, NULL, 0) == -1)
		err(1, "waitpid");
	if (read(ends[0], &byte, 1) != 1)
		errx(1, "the daemon has not started");
	puts("OK");
	return 0;
}

static int stop(const char *path)
{
	char text[16] = "";
	struct pollfd end = {.events = POLLIN};
	int file;

	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file == -1 || read(file, text, sizeof text - 1) <= 0)
		err(1, "%s", path);
	end.fd = syscall(SYS_pidfd_open, atoi(text), 0);
	if (end.fd == -1 || syscall(SYS_pidfd_send_signal, end.fd, SIGTERM, NULL, 0) == -1)
		err(1, "%s", text);
	if (poll(&end, 1, 10000) != 1)
		errx(1, "the daemon has not ended");
	if (unlink(path) == -1)
		err(1, "%s", path);
	puts("OK");
	return 0;
}

int main(int count, char **arguments)
{
	if (count == 3 && strcmp(arguments[1], "start") == 0)
		return start(arguments[2]);
	if (count == 3 && strcmp(arguments[1], "stop") == 0)
		return stop(arguments[2]);
	errx(2, "usage: baseline start|stop FILE");
}
