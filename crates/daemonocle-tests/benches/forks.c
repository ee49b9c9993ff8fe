/* As many bare children as the argument says, each in a session of its own, and a byte by each to
   say that it is there. Prints their PIDs. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0, ready[2];
    if (pipe(ready))
        return 1;
    pid_t *pids = calloc(count, sizeof *pids);
    for (int i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            return 1;
        if (pids[i] == 0) {
            if (setsid() < 0 || write(ready[1], "", 1) != 1)
                _exit(1);
            close(0);
            close(1);
            close(2);
            for (;;)
                pause();
        }
    }
    char byte;
    for (int i = 0; i < count; i++)
        if (read(ready[0], &byte, 1) != 1)
            return 1;
    for (int i = 0; i < count; i++)
        printf("%d\n", pids[i]);
    return 0;
}
