/*
 * Puts one process out of time: CLOCK_REALTIME plus an offset that another process sets. Loaded with LD_PRELOAD.
 *
 * ASSAY_CLOCK names a file of 16 bytes, native byte order: the offset in nanoseconds (signed), and how often a shifted time was read.
 * Both sides map or read the same pages, so that the clock may jump while the process runs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct clock {
    _Atomic int64_t offset_ns;
    _Atomic uint64_t reads;
};

static struct clock *shared;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("ASSAY_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *pages = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (pages != MAP_FAILED) shared = pages;
    close(file);
}

/* The system call itself: the library's own function is the one that this stands in for. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    const int64_t second = 1000000000;
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    int64_t offset = shared ? atomic_load(&shared->offset_ns) : 0;
    if (failed || clock != CLOCK_REALTIME || offset == 0) return failed;
    int64_t nanoseconds = now->tv_nsec + offset % second;
    now->tv_sec += offset / second;
    if (nanoseconds < 0) {
        nanoseconds += second;
        now->tv_sec -= 1;
    } else if (nanoseconds >= second) {
        nanoseconds -= second;
        now->tv_sec += 1;
    }
    now->tv_nsec = nanoseconds;
    atomic_fetch_add(&shared->reads, 1);
    return 0;
}
