/* A program that knows nothing of daemons, for those who make one of it; it does what job.h says. */
#include "../../job.h"

int main(void)
{
	const char *notify = getenv("NOTIFY_SOCKET");

	if (!job_set_up())
		return 1;
	/* sd_notify(3): who starts it may wait for that. */
	if (notify != NULL)
		job_tell(notify, "READY=1");
	for (;;)
		pause();
}
