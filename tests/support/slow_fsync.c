/* Preloaded by tests: every fsync and fdatasync takes SLOW_FSYNC_MS milliseconds longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void delay(void) {
    const char *text = getenv("SLOW_FSYNC_MS");
    long ms = text ? atol(text) : 0;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&left, &left) != 0) {
    }
}

static int after_delay(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    delay();
    return real(fd);
}

int fsync(int fd) {
    return after_delay("fsync", fd);
}

int fdatasync(int fd) {
    return after_delay("fdatasync", fd);
}
