/* port_host.c - this machine: no emulator, nothing counted. */
#include <stdio.h>

#include "port.h"

void port_start(void)
{
}

void port_end(void)
{
}

void port_put(char character)
{
    putchar(character);
}

void port_begin(void)
{
}

uint32_t port_stop(void)
{
    return 0;
}
