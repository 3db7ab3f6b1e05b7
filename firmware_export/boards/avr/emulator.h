/*
 * emulator.h - the parts of the program that runs an ATmega in simavr: pins, line, EEPROM, measurements.
 */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdint.h>

#include <simavr/sim_avr.h>

#include "line.h"
#include "options.h"
#include "world.h"

#define HZ 16000000u
#define CYCLES_PER_US (HZ / 1000000u)
#define AVCC_MV 5000u

/* What the parts share. */
struct board {
    avr_t *avr;
    avr_cycle_count_t before; /* cycles up to the chip's last reset: simavr counts from 0 after each */
    avr_cycle_count_t last;   /* simavr's count when it was looked at last */
    struct line line;
    struct world world;
    struct options options;
    int bare; /* no image, but a boot loader that waits for one */
    int32_t actuators[ROBOT_ACTUATORS]; /* as the world has seen them last */
    int torque_on;
    unsigned episodes, ticks;
};

extern struct board board;

/* Cycles since the start, and microseconds. */
avr_cycle_count_t board_cycles(void);
uint64_t board_us(void);

/* ---- emulator_pins.c: the world at the chip's pins ---- */

/* Wires the world to the pins, and shows it the robot at rest. */
void pins_start(void);

/* The chip has been reset: it counts edges from 0, as if the robot had been taken home. */
void pins_restarted(void);

/* ---- emulator_line.c: the UART at a pseudo-terminal, and how fast time goes ---- */

void uart_start(void);

/* What was half sent to the chip is gone. */
void uart_restarted(void);

/* Moves bytes, every so often. */
void uart_pump(void);

/* Looks whether the world is still there; ends the program where it is not. */
void uart_look(void);

/* Waits where virtual time would run away from a host that is silent. */
void uart_keep_pace(void);

/* ---- emulator_eeprom.c: the EEPROM in the file of --store ---- */

void eeprom_start(void);
void eeprom_save(void);

/* ---- emulator_measure.c: stack and control periods, for --report ---- */

void measure_start(void);
void measure_turn(void);
void measure_report(void);

#endif
