/*
 * bootloader.h - a chip in simavr as it comes out of the box: a boot loader in its flash, and nothing else. What it
 * runs is what is then written through its serial line.
 */
#ifndef BOOTLOADER_H
#define BOOTLOADER_H

#include <simavr/sim_avr.h>

/* 1 where `path` is a boot loader (an Intel HEX file), 0 where it is an image to be run as it is. */
int bootloader_is(const char *path);

/* Fills the chip's flash as a programmer leaves it: 0xFF, and the boot loader at its place, where a reset then leads.
 * Ends the program where the file cannot be read or is not for this chip. */
void bootloader_burn(avr_t *avr, const char *path);

/* The chip begins anew in its boot loader. By the button, or by DTR, which is the same line: it is told so, and waits for
 * an upload. */
void bootloader_reset(avr_t *avr, int by_button);

#endif
