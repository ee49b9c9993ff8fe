/*
 * What the daemons of the benchmarks do: they take $JOB_SETUP milliseconds to set themselves up, fail then if $JOB_FAIL
 * is set, and else tell $JOB_BELL, a Unix datagram socket, that they serve: their PID, and the time in nanoseconds.
 * Without these variables they are ready at once, and tell nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define JOB_WHY "the database is not there"

/* Sends a datagram; whether it could. */
static int job_tell(const char *path, const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof address;
	int bell, sent;

	if (strlen(path) >= sizeof address.sun_path)
		return 0;
	strcpy(address.sun_path, path);
	if (*path == '@') {
		address.sun_path[0] = '\0';
		length = (socklen_t)(sizeof address.sun_family + strlen(path));
	}
	bell = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bell == -1)
		return 0;
	sent = sendto(bell, text, strlen(text), 0, (struct sockaddr *)&address, length) != -1;
	close(bell);
	return sent;
}

/* Whether it serves. */
static int job_set_up(void)
{
	const char *setup = getenv("JOB_SETUP"), *bell = getenv("JOB_BELL");
	struct timespec now;
	char text[64];

	if (setup != NULL && *setup != '\0')
		usleep((useconds_t)atoi(setup) * 1000);
	if (getenv("JOB_FAIL") != NULL) {
		fputs(JOB_WHY "\n", stderr);
		return 0;
	}
	if (bell == NULL)
		return 1;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(text, sizeof text, "%d %lld", (int)getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
	return job_tell(bell, text);
}
