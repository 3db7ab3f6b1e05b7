/*
 * emulator_eeprom.c - an ATmega's EEPROM in a file (common/memory.h): what was kept when the power went off last.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_eeprom.h>
#include <simavr/sim_io.h>

#include "chip.h"
#include "emulator.h"
#include "memory.h"

#define BYTES CHIP_EEPROM_BYTES
#define BOOT_COUNT ((int)BYTES - 4) /* where the firmware keeps its count of boots */

static uint8_t saved[BYTES]; /* as of the last look at it */

/* A new chip's count of boots begins anywhere, so that two of them are told apart. */
void eeprom_start(void)
{
    avr_eeprom_desc_t part;
    struct timespec real;
    int i, fresh = 1;

    memory_open(board.options.store, saved, sizeof saved);
    for (i = 0; i < 4; i++) {
        fresh = fresh && saved[BOOT_COUNT + i] == 0xFF;
    }
    clock_gettime(CLOCK_REALTIME, &real);
    for (i = 0; fresh && i < 4; i++) {
        const uint32_t seed = (uint32_t)real.tv_sec ^ (uint32_t)real.tv_nsec << 2 ^ (uint32_t)getpid() << 16;
        saved[BOOT_COUNT + i] = (uint8_t)(seed >> (8 * i) & 0xFFu);
    }
    part.ee = saved;
    part.offset = 0;
    part.size = sizeof saved;
    avr_ioctl(board.avr, AVR_IOCTL_EEPROM_SET, &part);
}

/* What the chip has written since the last look goes to the file. */
void eeprom_save(void)
{
    uint8_t chip[BYTES];
    avr_eeprom_desc_t part;
    uint32_t first = 0, last = sizeof chip;

    part.ee = chip;
    part.offset = 0;
    part.size = sizeof chip;
    avr_ioctl(board.avr, AVR_IOCTL_EEPROM_GET, &part);
    while (first < last && chip[first] == saved[first]) {
        first++;
    }
    while (last > first && chip[last - 1] == saved[last - 1]) {
        last--;
    }
    if (last > first) {
        memcpy(saved + first, chip + first, last - first);
        memory_write(saved, first, last - first);
    }
}
