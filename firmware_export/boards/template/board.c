/*
 * board.c - a board of your own, to be filled in: five groups of functions, and the main loop.
 *
 * Search for FILL IN. A group that is done gets its FILLED_IN_* set to 1: while one is 0 the board answers, as far as it
 * can, and refuses to be armed, so that a motor cannot turn by half a program. All functions are called from the main
 * loop, never from an interrupt; none may wait, but for hal_store_write() and hal_episode_begin().
 */
#include "firmware.h"
#include "hal.h"

#ifndef FIRMWARE_ID
#error "define FIRMWARE_ID, a 32-bit hash of the sources (firmware_export.build does)"
#endif

#define FILLED_IN_SENSE 0
#define FILLED_IN_ACTUATE 0
#define FILLED_IN_CLOCK 0
#define FILLED_IN_UART 0
#define FILLED_IN_STORE 0

#define BOARD_NAME "my_board" /* up to 15 characters */
#define PERIOD ((uint32_t)ROBOT_CONTROL_PERIOD_US)

static struct firmware firmware;

/* ---- sense ----
 *
 * The latest counts of all sensors, in the order of the robot's file (robot_model.h lists them with their ranges).
 * Guarantee: values of this control period, read in much less than one; counts exactly as the robot's file scales them.
 * A sensor that does not answer: a count whose abort condition ends the episode, not the last good value. */
void hal_sense(int32_t *sensors)
{
    int i;
    for (i = 0; i < ROBOT_SENSORS; i++) {
        sensors[i] = 0; /* FILL IN */
    }
}

/* ---- actuate ----
 *
 * Counts within their range, in the order of the robot's file, and whether there may be torque.
 * Guarantee: with torque_on 0 the power stage is off when this returns, whatever the counts are; it is off from reset on,
 * by a resistor, and until the first call with torque_on 1. */
void hal_actuate(const int32_t *actuators, int torque_on)
{
    (void)actuators; /* FILL IN */
    (void)torque_on;
}

/* ---- clock ----
 *
 * A free-running clock in microseconds.
 * Guarantee: 32 bits that wrap; never backwards, not even by an interrupt that is late; right within 1 %. */
uint32_t hal_now_us(void)
{
    return 0; /* FILL IN */
}

/* Another number after each start, by which the host finds out that the board was reset: a counter that outlives a power
 * cut, or a random number of the chip. */
static uint32_t boot_id(void)
{
    return 1; /* FILL IN */
}

/* The chip's own watchdog timer, 0.5 s or so: whatever hangs ends in a reset, and a reset in released actuators. */
static void start_watchdog(void)
{
    /* FILL IN */
}

static void feed_watchdog(void)
{
    /* FILL IN */
}

/* ---- uart ----
 *
 * The serial line to the host, 1,000,000 baud unless the host is told another.
 * Guarantee: received bytes in order, from a buffer that an interrupt or DMA fills (100 bytes are enough); a frame is
 * taken whole (1) or not at all (0), into a buffer that has room for what one control period sends (128 bytes). */
size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    (void)data; /* FILL IN */
    (void)capacity;
    return 0;
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    (void)data; /* FILL IN */
    (void)length;
    return 0;
}

/* ---- store ----
 *
 * Memory that outlives a power cut, for parameters (runtime/store.h): EEPROM, or flash that is erased beforehand.
 * Guarantee: a byte that is not written keeps its value, also when the power goes meanwhile. A board without such memory
 * says 0 bytes, which is a complete answer: FILLED_IN_STORE is 1 then as well. */
uint32_t hal_store_size(void)
{
    return 0; /* FILL IN */
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    (void)at; /* FILL IN */
    (void)data;
    (void)length;
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    (void)at; /* FILL IN; feed the watchdog in between */
    (void)data;
    (void)length;
}

/* For sensors and motors on a bus that can fail on its own (a servo that is unplugged): which fault, of which device.
 * Zeros are a complete answer where there is none. */
void hal_devices(int anew, struct hal_devices *devices)
{
    (void)anew;
    devices->fault = 0;
    devices->detail = 0;
    devices->reused = 0;
}

/* How deep the stack ever was, and how much memory it never reached; 0 and 0 where nobody looks. */
void hal_stack(uint16_t *used, uint16_t *left)
{
    *used = 0;
    *left = 0;
}

/* Returns once the robot stands at its start: at once, where a person puts it there and says so at the host. The seed is
 * for simulated worlds. */
void hal_episode_begin(uint32_t episode_seed)
{
    (void)episode_seed;
}

/* ---- start and main loop ---- */

/* Clocks, pins, timers, interrupts. The power stage first, and off. */
static void start_board(void)
{
    /* FILL IN */
}

/* 1: go on. On a chip it always is; a program of this machine ends here. */
static int turn(void)
{
    return 1;
}

static int filled_in(void)
{
    return FILLED_IN_SENSE && FILLED_IN_ACTUATE && FILLED_IN_CLOCK && FILLED_IN_UART && FILLED_IN_STORE;
}

int main(void)
{
    uint32_t next;

    start_board();
    start_watchdog();
    firmware_init(&firmware, BOARD_NAME, (uint32_t)FIRMWARE_ID, boot_id());
    if (!filled_in()) {
        firmware_unfit(&firmware, FAULT_NOT_WIRED);
    }
    next = hal_now_us() + PERIOD;
    while (turn()) {
        uint32_t now;
        feed_watchdog();
        firmware_poll(&firmware);
        now = hal_now_us();
        if (now - next < (uint32_t)0x80000000UL) {
            firmware_tick(&firmware);
            if (firmware.state == STATE_RUN && firmware.episode.tick == 0) {
                next = firmware.first_tick_us; /* the periods of an episode count from its first one */
            }
            next += PERIOD;
            if (now - next < (uint32_t)0x80000000UL) {
                next = now + PERIOD; /* a whole period was missed: the firmware has counted it */
            }
        }
    }
    return 0;
}
