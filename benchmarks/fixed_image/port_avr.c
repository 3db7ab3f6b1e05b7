/* port_avr.c - an AVR in simavr: general-purpose registers tell runner_avr.c what to print and what to count. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "port.h"

void port_start(void)
{
    port_begin();
    (void)port_stop();
}

/* asleep without interrupts: simavr takes it for the end */
void port_end(void)
{
    cli();
    sleep_enable();
    sleep_cpu();
}

void port_put(char character)
{
    GPIOR1 = (uint8_t)character;
}

void port_begin(void)
{
    GPIOR0 = 1;
}

uint32_t port_stop(void)
{
    GPIOR0 = 0;
    return 0;
}
