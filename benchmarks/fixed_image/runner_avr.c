/*
 * runner_avr.c - runs an image of an AVR in simavr: IMAGE MCU SECONDS. What it writes to GPIOR1 is printed; a line's
 * end is preceded by the fewest and the most cycles between two writes to GPIOR0 since the line before, less those of
 * the first such pair, which has nothing in between. Exit code 0 when the program has ended, 1 when it crashed, 2 when it
 * took too long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define GPIOR0_ADDRESS 0x3E
#define GPIOR1_ADDRESS 0x4A

static avr_cycle_count_t started, empty, least = (avr_cycle_count_t)-1, most;
static int knows_empty;

static void on_count(struct avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused)
{
    (void)unused;
    avr->data[address] = value;
    if (value) {
        started = avr->cycle;
    } else if (!knows_empty) {
        empty = avr->cycle - started;
        knows_empty = 1;
    } else {
        const avr_cycle_count_t took = avr->cycle - started - empty;
        least = took < least ? took : least;
        most = took > most ? took : most;
    }
}

static void on_character(struct avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused)
{
    (void)unused;
    avr->data[address] = value;
    if (value == '\n') {
        printf("%llu %llu", (unsigned long long)least, (unsigned long long)most);
        least = (avr_cycle_count_t)-1;
        most = 0;
    }
    putchar(value);
}

int main(int argc, char **argv)
{
    static elf_firmware_t firmware;
    const time_t start = time(NULL);
    unsigned long turns = 0;
    avr_t *avr;
    int state = cpu_Running;

    if (argc != 4 || elf_read_firmware(argv[1], &firmware) != 0 || (avr = avr_make_mcu_by_name(argv[2])) == NULL) {
        fprintf(stderr, "usage: runner_avr IMAGE MCU SECONDS\n");
        return 3;
    }
    avr_init(avr);
    firmware.frequency = 16000000;
    avr_load_firmware(avr, &firmware);
    avr_register_io_write(avr, GPIOR0_ADDRESS, on_count, NULL);
    avr_register_io_write(avr, GPIOR1_ADDRESS, on_character, NULL);
    while (state != cpu_Done && state != cpu_Crashed) {
        state = avr_run(avr);
        if ((++turns & 0xFFFFFu) == 0 && time(NULL) - start > atol(argv[3])) {
            return 2;
        }
    }
    return state == cpu_Crashed ? 1 : 0;
}
