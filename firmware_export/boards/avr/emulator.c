/*
 * emulator.c - an ATmega in simavr, its pins in a simulated world.
 *
 *   emulator IMAGE.elf|BOOTLOADER.hex --plant-fd N [--paced] [--unplug-at EPISODE:TICK] [--store FILE] [--report FILE]
 *
 * The chip runs the image that would be flashed, cycle by cycle. With a boot loader for an image it is a board as it is
 * bought (bootloader.h): opening the serial line resets it, and firmware is uploaded through that line. The world
 * (common/world.h) is at its pins (emulator_pins.c), the host at its UART (emulator_line.c). SIGUSR1 is its reset button.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <simavr/sim_elf.h>

#include "bootloader.h"
#include "button.h"
#include "chip.h"
#include "emulator.h"
#include "plug.h"

#define PUMP_CYCLES (100u * CYCLES_PER_US)
#define LOOK_EVERY 100u /* pumps */

struct board board;

static volatile sig_atomic_t power_off;
static void (*reset_of_chip)(avr_t *avr); /* what simavr does at a reset, for this kind of chip */
static int was_reset;

avr_cycle_count_t board_cycles(void)
{
    return board.before + board.avr->cycle;
}

uint64_t board_us(void)
{
    return board_cycles() / CYCLES_PER_US;
}

static void on_terminate(int number)
{
    (void)number;
    power_off = 1;
}

static void sleep_not(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

static void quiet(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level <= LOG_ERROR) {
        vfprintf(stderr, format, arguments);
    }
}

/* Whoever resets the chip, button or watchdog timer: simavr's own timers are gone then, and its count of cycles begins
 * anew or does not. */
static void note_reset(avr_t *avr)
{
    was_reset = 1;
    if (reset_of_chip != NULL) {
        reset_of_chip(avr);
    }
}

static void load(const char *path)
{
    elf_firmware_t image;

    avr_global_logger_set(quiet);
    memset(&image, 0, sizeof image);
    board.bare = bootloader_is(path);
    if (!board.bare && elf_read_firmware(path, &image) != 0) {
        die("the image cannot be read: is it an ELF file for this chip?");
    }
    board.avr = avr_make_mcu_by_name(CHIP_NAME);
    if (board.avr == NULL || avr_init(board.avr) != 0) {
        die("simavr does not know the " CHIP_NAME);
    }
    if (board.bare) {
        bootloader_burn(board.avr, path);
    } else {
        image.frequency = HZ;
        avr_load_firmware(board.avr, &image);
    }
    board.avr->frequency = HZ;
    board.avr->vcc = board.avr->avcc = AVCC_MV;
    board.avr->sleep = sleep_not;
    reset_of_chip = board.avr->reset;
    board.avr->reset = note_reset;
}

static void restarted(void)
{
    was_reset = 0;
    pins_restarted();
    uart_restarted();
}

/* Some cycles of the chip, and what its pins see meanwhile. */
static void run_chip(void)
{
    const int state = avr_run(board.avr);
    if (state == cpu_Done || state == cpu_Crashed) {
        if (!board.bare) {
            errno = 0;
            die("the chip has crashed or stopped for good");
        }
        bootloader_reset(board.avr, 0); /* half an upload: it strays through empty flash to its boot loader */
    }
    if (board.avr->cycle < board.last) {
        board.before += board.last;
    }
    if (was_reset) {
        restarted();
    }
    board.last = board.avr->cycle;
    if (board.options.report != NULL) {
        measure_turn();
    }
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: emulator IMAGE.elf|BOOTLOADER.hex --plant-fd N [--paced] [--unplug-at EPISODE:TICK] "
                                "[--store FILE] [--report FILE]";
    avr_cycle_count_t next = 0;
    unsigned looks = 0;

    board.options = options_parse(argc, argv, 2, usage);
    board.world.fd = board.options.plant_fd;
    load(argv[1]);
    eeprom_start();
    measure_start();
    (void)signal(SIGTERM, on_terminate);
    button_watch();
    pins_start();
    uart_start();
    if (board.bare) {
        plug_watch(&board.line);
    }
    for (;;) {
        run_chip();
        if (board_cycles() >= next) {
            next = board_cycles() + PUMP_CYCLES;
            uart_pump();
            uart_keep_pace();
            if (button_pressed() || (board.bare && plug_opened(&board.line))) {
                bootloader_reset(board.avr, 1);
            }
            if (++looks % LOOK_EVERY == 0) {
                uart_look(); /* a machine too slow for the chip never waits, and the world may be gone */
            }
            if (board.options.store != NULL && (power_off || looks % LOOK_EVERY == 0)) {
                eeprom_save();
            }
            if (power_off) {
                if (board.options.report != NULL) {
                    measure_report();
                }
                return 0;
            }
        }
        if (board.line.fd < 0 && !board.torque_on && board.episodes > 0) {
            return 0; /* unplugged, and the motors are released */
        }
    }
}
