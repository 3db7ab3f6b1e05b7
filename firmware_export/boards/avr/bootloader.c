#include "bootloader.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <simavr/sim_regbit.h>

#include "world.h"

#define LARGEST_BOOT_SECTION 8192u
#define RECORD_BYTES 255u

int bootloader_is(const char *path)
{
    const size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".hex") == 0;
}

/* One line of an Intel HEX file: `:`, then bytes in hexadecimal: how many are data, where (two), the kind, the data, and
 * what makes the sum of all of them 0. Returns the number of data bytes, or -1. */
static int parse_record(const char *line, uint32_t *address, unsigned *kind, uint8_t *data)
{
    uint8_t bytes[RECORD_BYTES + 5u];
    uint8_t sum = 0;
    size_t count = 0;

    if (*line++ != ':') {
        return -1;
    }
    for (; count < sizeof bytes; count++, line += 2) {
        unsigned value;
        if (sscanf(line, "%2x", &value) != 1) {
            break;
        }
        bytes[count] = (uint8_t)value;
        sum = (uint8_t)(sum + value);
    }
    if (count < 5 || count != (size_t)bytes[0] + 5u || sum != 0) {
        return -1;
    }
    *address = (uint32_t)bytes[1] << 8 | bytes[2];
    *kind = bytes[3];
    memcpy(data, bytes + 4, bytes[0]);
    return bytes[0];
}

void bootloader_burn(avr_t *avr, const char *path)
{
    enum { DATA = 0, END = 1, SEGMENT = 2, START_SEGMENT = 3, LINEAR = 4, START_LINEAR = 5 };
    const uint32_t flash = avr->flashend + 1u;
    FILE *const file = fopen(path, "r");
    uint32_t above = 0, first = flash, address;
    uint8_t data[RECORD_BYTES];
    char line[2 * (RECORD_BYTES + 5u) + 4u];
    unsigned kind = DATA;

    if (file == NULL) {
        die(path);
    }
    errno = 0;
    memset(avr->flash, 0xFF, flash);
    while (kind != END && fgets(line, (int)sizeof line, file) != NULL) {
        const int length = parse_record(line, &address, &kind, data);
        if (length < 0 || kind > START_LINEAR || ((kind == SEGMENT || kind == LINEAR) && length != 2)) {
            die("the boot loader's file has a line that is no Intel HEX");
        }
        if (kind == SEGMENT || kind == LINEAR) {
            above = ((uint32_t)data[0] << 8 | data[1]) << (kind == SEGMENT ? 4 : 16);
        } else if (kind == DATA && length > 0) {
            address += above;
            if (address >= flash || (uint32_t)length > flash - address) {
                die("the boot loader lies beyond this chip's flash: it is for another chip");
            }
            memcpy(avr->flash + address, data, (size_t)length);
            first = address < first ? address : first;
        }
    }
    (void)fclose(file);
    if (kind != END || first >= flash || first < flash - LARGEST_BOOT_SECTION) {
        die("the file is not whole, or not in the boot section of this chip: it is no boot loader of this chip");
    }
    avr->reset_pc = avr->pc = first;
    avr->codeend = avr->flashend; /* all of it may be run: what is written later, too */
    avr_regbit_set(avr, avr->reset_flags.porf);
}

void bootloader_reset(avr_t *avr, int by_button)
{
    avr_reset(avr);
    avr->cycle = 0; /* as after simavr's own reset, that by the watchdog timer */
    if (by_button) {
        avr_regbit_set(avr, avr->reset_flags.extrf);
    }
}
