/* port_avr.c - an ATmega328P in simavr: avr_runner.c counts the cycles between writes to GPIOR0 and takes the bytes. */
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

#include "bench.h"

void port_begin(void)
{
    port_start(); /* what two marks count of themselves comes first */
    port_stop();
}

void port_load(void *to, const void *from, unsigned size)
{
    memcpy_P(to, from, size);
}

void __attribute__((noinline)) port_start(void)
{
    GPIOR0 = 1;
}

void __attribute__((noinline)) port_stop(void)
{
    GPIOR0 = 2;
}

void port_put(unsigned char byte)
{
    GPIOR1 = byte;
}

void port_end(void)
{
    GPIOR0 = 3;
    for (;;) {
        sleep_cpu();
    }
}
