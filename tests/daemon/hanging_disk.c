// To be preloaded: a disk that does not answer. While the file that HANGING_DISK names exists, no
// fdatasync returns, which is where a commit waits for the disk.
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
    const char *path = getenv("HANGING_DISK");
    while (path != NULL && access(path, F_OK) == 0)
        (void)nanosleep(&moment, NULL);
    return (int)syscall(SYS_fdatasync, fd);
}
