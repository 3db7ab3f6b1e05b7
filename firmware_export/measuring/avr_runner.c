/*
 * avr_runner.c - runs an image on simavr's ATmega328P until it says that it is done.
 *
 *   avr_runner IMAGE.elf
 *
 * Prints 't CYCLES' and 's BYTES' (deepest stack) for each pair of marks, 'b BYTE' for each result byte, 'e 0' at the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_io.h>

#define GPIOR0 0x3E
#define GPIOR1 0x4A
#define SPL 0x5D
#define LIMIT 2000000000u

static avr_cycle_count_t began;
static unsigned entered, lowest;
static int measuring, done;

static unsigned stack_pointer(const avr_t *avr)
{
    return avr->data[SPL] | (unsigned)avr->data[SPL + 1] << 8;
}

static void mark(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused)
{
    (void)address;
    (void)unused;
    if (value == 1) {
        began = avr->cycle;
        entered = lowest = stack_pointer(avr);
        measuring = 1;
    } else if (value == 2) {
        printf("t %llu\ns %u\n", (unsigned long long)(avr->cycle - began), entered - lowest);
        measuring = 0;
    } else {
        done = 1;
    }
}

static void byte(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused)
{
    (void)avr;
    (void)address;
    (void)unused;
    printf("b %u\n", value);
}

int main(int argc, char **argv)
{
    elf_firmware_t image = {0};
    avr_t *avr = argc == 2 ? avr_make_mcu_by_name("atmega328p") : NULL;

    if (!avr || elf_read_firmware(argv[1], &image) != 0) {
        fprintf(stderr, "usage: avr_runner IMAGE.elf\n");
        return 2;
    }
    avr_init(avr);
    avr->frequency = 16000000;
    avr_load_firmware(avr, &image);
    avr_register_io_write(avr, GPIOR0, mark, NULL);
    avr_register_io_write(avr, GPIOR1, byte, NULL);
    while (!done && avr->cycle < LIMIT) {
        const int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            printf("f %d\n", state);
            return 1;
        }
        if (measuring && stack_pointer(avr) < lowest) {
            lowest = stack_pointer(avr);
        }
    }
    printf("%s\n", done ? "e 0" : "f 0");
    return done ? 0 : 1;
}
