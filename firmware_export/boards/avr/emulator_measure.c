/*
 * emulator_measure.c - how deep an ATmega's stack was and how long its control periods took, for --report.
 */
#include <stdio.h>

#include <simavr/sim_io.h>

#include "chip.h"
#include "emulator.h"

#define REGISTER_GPIOR2 0x4B
#define REGISTER_SPL 0x5D
#define RAM_FROM 0x100 /* below: before the stack was set up */

static struct measured {
    uint16_t lowest_stack;
    avr_cycle_count_t began, cycles, worst;
    unsigned long ticks;
} measured;

/* The firmware writes 1 before a control period with torque and 0 behind it. */
static void on_period(avr_t *avr, avr_io_addr_t address, uint8_t value, void *param)
{
    (void)param;
    avr->data[address] = value;
    if (value) {
        measured.began = avr->cycle;
    } else if (board.torque_on) {
        const avr_cycle_count_t took = avr->cycle - measured.began;
        measured.ticks++;
        measured.cycles += took;
        measured.worst = took > measured.worst ? took : measured.worst;
    }
}

void measure_start(void)
{
    measured.lowest_stack = CHIP_RAM_END;
    avr_register_io_write(board.avr, REGISTER_GPIOR2, on_period, NULL);
}

void measure_turn(void)
{
    const uint8_t *const stack = board.avr->data + REGISTER_SPL;
    const uint16_t at = (uint16_t)(stack[0] | stack[1] << 8);
    if (at < measured.lowest_stack && at > RAM_FROM) {
        measured.lowest_stack = at;
    }
}

void measure_report(void)
{
    FILE *const file = fopen(board.options.report, "w");
    if (file == NULL || fprintf(file,
                                "{\"ticks\": %lu, \"mean_tick_cycles\": %lu, \"worst_tick_cycles\": %lu, "
                                "\"stack_bytes\": %u}\n",
                                measured.ticks,
                                measured.ticks ? (unsigned long)(measured.cycles / measured.ticks) : 0ul,
                                (unsigned long)measured.worst, (unsigned)(CHIP_RAM_END - measured.lowest_stack)) < 0 ||
        fclose(file) != 0) {
        die(board.options.report);
    }
}
