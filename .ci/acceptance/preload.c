/* Preloaded into a node (LD_PRELOAD), this sets the wall clock wrong and slows the disk down:
   - the number of seconds in the file WRONG_CLOCK is added to the wall clock, not to the monotonic clock;
   - every fsync and fdatasync takes SLOW_SYNC_MS longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int (*next_clock)(clockid_t, struct timespec *);
static int (*next_fsync)(int), (*next_fdatasync)(int);

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void find(void) {
    next_clock = next("clock_gettime");
    next_fsync = next("fsync");
    next_fdatasync = next("fdatasync");
}

/* By how many seconds the clock is wrong. One thread reads the file, at most every 20 ms. */
static long wrong_by(void) {
    static long seconds, looked_at_ms;
    struct timespec now;
    next_clock(CLOCK_MONOTONIC, &now);
    long ms = now.tv_sec * 1000 + now.tv_nsec / 1000000, last = __atomic_load_n(&looked_at_ms, __ATOMIC_RELAXED);
    if (ms - last < 20 || !__atomic_compare_exchange_n(&looked_at_ms, &last, ms, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return __atomic_load_n(&seconds, __ATOMIC_RELAXED);
    char *path = getenv("WRONG_CLOCK");
    FILE *file = path ? fopen(path, "r") : NULL;
    long found = 0;
    if (file) {
        if (fscanf(file, "%ld", &found) != 1) found = 0;
        fclose(file);
    }
    __atomic_store_n(&seconds, found, __ATOMIC_RELAXED);
    return found;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!next_clock) find();
    int result = next_clock(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += wrong_by();
    return result;
}

static void wait_a_little(void) {
    char *ms = getenv("SLOW_SYNC_MS");
    if (ms) usleep(atoi(ms) * 1000);
}

int fsync(int file) {
    wait_a_little();
    return next_fsync(file);
}

int fdatasync(int file) {
    wait_a_little();
    return next_fdatasync(file);
}
