/* port_host.c - this machine: times in ns, less those of two marks. Each is one call and a machine has other things to
 * do, so whoever reads them takes the least of many. */
#include <stdio.h>
#include <time.h>

#include "bench.h"

static struct timespec began;
static long empty;

static long since(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)(now.tv_sec - began.tv_sec) * 1000000000L + (now.tv_nsec - began.tv_nsec);
}

void port_begin(void)
{
    int i;

    empty = 1000000000L;
    for (i = 0; i < 1000; i++) {
        long found;
        port_start();
        found = since();
        empty = found < empty ? found : empty;
    }
}

void port_load(void *to, const void *from, unsigned size)
{
    memcpy(to, from, size);
}

void port_start(void)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
}

void port_stop(void)
{
    const long found = since() - empty;

    printf("t %ld\n", found > 0 ? found : 0);
}

void port_put(unsigned char byte)
{
    printf("b %u\n", byte);
}

void port_end(void)
{
    printf("e 0\n");
}
