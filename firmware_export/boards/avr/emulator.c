/*
 * emulator.c - an ATmega in simavr, its pins in a simulated world.
 *
 *   emulator IMAGE.elf|BOOTLOADER.hex --plant-fd N [--paced] [--unplug-at EPISODE:TICK] [--store FILE] [--report FILE]
 *
 * The chip runs the image that would be flashed, cycle by cycle. With a boot loader for an image it is a board as it is
 * bought (bootloader.h): opening the serial line resets it, and firmware is uploaded through that line. The UART is a pseudo-terminal (common/line.h). The
 * world (common/world.h) is wired to the pins as wiring.h says: it moves wheels, whose encoders give edges, and sets
 * voltages; it reads PWM, direction and the power stage. It moves one control period for each toggle of the tick pin
 * while there is torque, and once more to see the last command, so an episode here is the same as anywhere else.
 *
 * Virtual time runs as fast as the machine can, with one exception: silence of the host longer than a part of the
 * watchdog's time may not come about faster than the host could have spoken. --paced: no faster than real time at all.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_adc.h>
#include <simavr/avr_eeprom.h>
#include <simavr/avr_ioport.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_io.h>

#include "bootloader.h"
#include "chip.h"
#include "line.h"
#include "memory.h"
#include "options.h"
#include "pin.h"
#include "plug.h"
#include "wiring.h"
#include "world.h"

#define HZ 16000000u
#define CYCLES_PER_US (HZ / 1000000u)
#define PUMP_CYCLES (100u * CYCLES_PER_US)
#define EDGE_CYCLES (40u * CYCLES_PER_US) /* between two edges of an encoder: a second's worth takes 40 ms */
#define START_CYCLES (50000u * CYCLES_PER_US) /* then the chip counts edges, and the robot is carried to its start */
#define AVCC_MV 5000u
#define ADC_STEPS 1023u
#define ENCODERS 2
#define CLOSED_POLL_US 2000
#define EEPROM_BYTES CHIP_EEPROM_BYTES
#define BOOT_COUNT ((int)EEPROM_BYTES - 4) /* where hal_avr.c keeps its count of boots */

/* addresses in the data space, the same in all chips that have a board here */
#define REGISTER_GPIOR0 0x3E
#define REGISTER_GPIOR1 0x4A
#define REGISTER_GPIOR2 0x4B
#define REGISTER_SPL 0x5D
#define REGISTER_PCICR 0x68
#define REGISTER_TCCR1A 0x80
#define REGISTER_OCR1A 0x88
#define REGISTER_OCR1B 0x8A

static struct board {
    avr_t *avr;
    avr_cycle_count_t before; /* cycles up to the chip's last reset: simavr counts from 0 after each */
    avr_cycle_count_t last;   /* simavr's count when it was looked at last */
    avr_cycle_count_t next_edges;
    struct line line;
    struct world world;
    struct options options;
    int bare; /* no image, but a boot loader that waits for one */

    int line_ready; /* the chip takes another byte */
    uint8_t in[256];
    size_t in_used, in_at;
    avr_irq_t *uart_in;
    avr_cycle_count_t heard_cycle; /* last byte from the host, by both clocks */
    uint64_t heard_us;

    avr_irq_t *encoder_pin[ENCODERS][2];
    int32_t at[ENCODERS];     /* where the edges given so far have taken the count */
    int32_t target[ENCODERS]; /* where the wheel is */
    avr_irq_t *analogue[8];

    /* for --report */
    uint16_t lowest_stack;
    avr_cycle_count_t tick_began, ticks_cycles, worst_tick;
    unsigned long ticks_measured;

    uint8_t eeprom[EEPROM_BYTES]; /* as of the last look at it */

    uint32_t seed; /* of the episode, as its bytes come */
    int32_t actuators[ROBOT_ACTUATORS];
    int torque_on;
    unsigned episodes, ticks;
} board;

/* Cycles since the start. */
static avr_cycle_count_t now(void)
{
    return board.before + board.avr->cycle;
}

static uint64_t now_us(void)
{
    return now() / CYCLES_PER_US;
}

/* ---- the world at the pins ---- */

static void show_sensors(void)
{
    static const struct wire wires[ROBOT_SENSORS] = WIRING_SENSORS;
    int i;
    for (i = 0; i < ROBOT_SENSORS; i++) {
        const int32_t count = board.world.sensors[i];
        if (wires[i].kind == WIRE_ENCODER) {
            board.target[wires[i].number] = count;
        } else {
            /* the least voltage that converts to this count: simavr truncates, as the chip does */
            const uint32_t mv = ((uint32_t)count * AVCC_MV + ADC_STEPS - 1u) / ADC_STEPS;
            avr_raise_irq(board.analogue[wires[i].number], mv);
        }
    }
}

static void give_edges(void)
{
    static const uint8_t gray[4] = {0, 1, 3, 2};
    int i;
    for (i = 0; i < ENCODERS; i++) {
        if (board.at[i] != board.target[i]) {
            uint8_t pins;
            board.at[i] += board.at[i] < board.target[i] ? 1 : -1;
            pins = gray[board.at[i] & 3];
            avr_raise_irq(board.encoder_pin[i][0], pins & 1u);
            avr_raise_irq(board.encoder_pin[i][1], (uint32_t)pins >> 1);
        }
    }
}

/* Level that the chip gives to an output. */
static int output(char port, unsigned bit)
{
    avr_ioport_state_t state;
    avr_ioctl(board.avr, (uint32_t)AVR_IOCTL_IOPORT_GETSTATE(port), &state);
    return (int)((unsigned)state.port >> bit & 1u);
}
#define OUTPUT(pin) output(PIN_LETTER(pin), PIN_BIT(pin))

/* What the motors get, as their drivers would see it. */
static void read_motors(int32_t *actuators)
{
    static const struct wire wires[ROBOT_ACTUATORS] = WIRING_ACTUATORS;
    const uint8_t *const data = board.avr->data;
    int i;
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        const int second = wires[i].number != 0;
        const int at = second ? REGISTER_OCR1B : REGISTER_OCR1A;
        const int connected = data[REGISTER_TCCR1A] >> (second ? 5 : 7) & 1;
        const int32_t duty = connected ? data[at] | data[at + 1] << 8 : 0;
        const int reverse = second ? OUTPUT(MOTOR_1_REVERSE) : OUTPUT(MOTOR_0_REVERSE);
        actuators[i] = reverse ? -duty : duty;
    }
}

static void on_tick(avr_irq_t *irq, uint32_t value, void *param)
{
    int32_t actuators[ROBOT_ACTUATORS];
    const int torque_on = OUTPUT(POWER_STAGE);
    int changed;
    (void)irq;
    (void)value;
    (void)param;
    read_motors(actuators);
    changed = torque_on != board.torque_on || memcmp(actuators, board.actuators, sizeof actuators) != 0;
    if (torque_on && board.options.unplug_episode == board.episodes && board.options.unplug_tick == board.ticks &&
        board.line.fd >= 0 && board.episodes > 0) {
        line_unplug(&board.line);
    }
    memcpy(board.actuators, actuators, sizeof actuators);
    board.torque_on = torque_on;
    if (torque_on || changed || board.options.paced) {
        world_request(&board.world, 'S', 0, now_us(), actuators, torque_on);
        show_sensors();
    }
    board.ticks++;
}

/* The firmware writes the episode's seed byte by byte, each followed by its number from 1 on. */
static void on_episode(avr_t *avr, avr_io_addr_t address, uint8_t value, void *param)
{
    (void)param;
    avr->data[address] = value;
    board.seed = board.seed >> 8 | (uint32_t)avr->data[REGISTER_GPIOR1] << 24;
    if (value == 4) {
        world_request(&board.world, 'R', board.seed, now_us(), board.actuators, board.torque_on);
        show_sensors();
        board.episodes++;
        board.ticks = 0;
    }
}

/* The firmware writes 1 before a control period with torque and 0 behind it. */
static void on_period(avr_t *avr, avr_io_addr_t address, uint8_t value, void *param)
{
    (void)param;
    avr->data[address] = value;
    if (value) {
        board.tick_began = avr->cycle;
    } else if (board.torque_on) {
        const avr_cycle_count_t took = avr->cycle - board.tick_began;
        board.ticks_measured++;
        board.ticks_cycles += took;
        board.worst_tick = took > board.worst_tick ? took : board.worst_tick;
    }
}

static void report(void)
{
    FILE *const file = fopen(board.options.report, "w");
    if (file == NULL || fprintf(file,
                                "{\"ticks\": %lu, \"mean_tick_cycles\": %lu, \"worst_tick_cycles\": %lu, "
                                "\"stack_bytes\": %u}\n",
                                board.ticks_measured,
                                board.ticks_measured ? (unsigned long)(board.ticks_cycles / board.ticks_measured) : 0ul,
                                (unsigned long)board.worst_tick, (unsigned)(CHIP_RAM_END - board.lowest_stack)) < 0 ||
        fclose(file) != 0) {
        die(board.options.report);
    }
}

/* ---- the line ---- */

static void on_byte_out(avr_irq_t *irq, uint32_t value, void *param)
{
    const uint8_t byte = (uint8_t)value;
    (void)irq;
    (void)param;
    (void)line_write(&board.line, &byte, 1);
}

static void on_ready(avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)value;
    board.line_ready = param != NULL;
}

static void pump(void)
{
    if (board.in_at == board.in_used) {
        board.in_at = 0;
        board.in_used = line_read(&board.line, board.in, sizeof board.in);
        if (board.in_used > 0) {
            board.heard_cycle = now();
            board.heard_us = wall_us();
        }
    }
    while (board.line_ready && board.in_at < board.in_used) {
        avr_raise_irq(board.uart_in, board.in[board.in_at++]);
    }
    line_drain(&board.line);
}

/* Waits until the host speaks or `limit_us` have passed; ends the program when the world is gone. */
static void wait_for_host(uint64_t limit_us)
{
    struct pollfd fds[2];
    struct timespec limit;
    const int listening = board.line.fd >= 0 && !board.line.closed;

    if (!listening && limit_us > CLOSED_POLL_US) {
        limit_us = CLOSED_POLL_US;
    }
    limit.tv_sec = (time_t)(limit_us / 1000000u);
    limit.tv_nsec = (long)(limit_us % 1000000u) * 1000;
    fds[0].fd = board.world.fd;
    fds[0].events = 0;
    fds[0].revents = 0;
    fds[1].fd = listening ? board.line.fd : -1;
    fds[1].events = POLLIN;
    fds[1].revents = 0;
    if (ppoll(fds, 2, &limit, NULL) > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))) {
        errno = 0;
        die("the plant has closed its socket; the world is gone, so this program ends");
    }
}

/* Virtual silence beyond half of the watchdog's first stage must be real. */
static void keep_pace(void)
{
    const uint64_t allowed = board.options.paced || (board.bare && !board.torque_on) ? 0 : ROBOT_HOLD_US / 2;
    const uint64_t silent = (now() - board.heard_cycle) / CYCLES_PER_US;
    const uint64_t real = wall_us() - board.heard_us;
    if (silent > allowed && silent > real + 200u && board.in_at == board.in_used) {
        wait_for_host(silent - real);
    }
}

/* ---- start ---- */

static void wire_up(void)
{
    avr_t *const avr = board.avr;
    uint32_t flags = 0;
    int i;

    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POOL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    board.uart_in = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte_out, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_ready, &board);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_ready, NULL);
    board.line_ready = 1;
    for (i = 0; i < ENCODERS; i++) {
        const uint32_t port = (uint32_t)AVR_IOCTL_IOPORT_GETIRQ(PIN_LETTER(ENCODERS_FROM));
        board.encoder_pin[i][0] = avr_io_getirq(avr, port, PIN_BIT(ENCODERS_FROM) + 2 * i);
        board.encoder_pin[i][1] = avr_io_getirq(avr, port, PIN_BIT(ENCODERS_FROM) + 2 * i + 1);
    }
    for (i = 0; i < 8; i++) {
        board.analogue[i] = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + i);
    }
    avr_irq_register_notify(
        avr_io_getirq(avr, (uint32_t)AVR_IOCTL_IOPORT_GETIRQ(PIN_LETTER(TICK)), PIN_BIT(TICK)), on_tick, NULL);
    avr_register_io_write(avr, REGISTER_GPIOR0, on_episode, NULL);
    avr_register_io_write(avr, REGISTER_GPIOR2, on_period, NULL);
    board.lowest_stack = CHIP_RAM_END;
    board.next_edges = START_CYCLES;
}

/* The EEPROM as it was when the power went off last, from the file of --store. A new chip's count of boots begins
 * anywhere, so that two of them are told apart. */
static void fill_eeprom(void)
{
    avr_eeprom_desc_t part;
    struct timespec real;
    int i, fresh = 1;

    memory_open(board.options.store, board.eeprom, sizeof board.eeprom);
    for (i = 0; i < 4; i++) {
        fresh = fresh && board.eeprom[BOOT_COUNT + i] == 0xFF;
    }
    clock_gettime(CLOCK_REALTIME, &real);
    for (i = 0; fresh && i < 4; i++) {
        const uint32_t seed = (uint32_t)real.tv_sec ^ (uint32_t)real.tv_nsec << 2 ^ (uint32_t)getpid() << 16;
        board.eeprom[BOOT_COUNT + i] = (uint8_t)(seed >> (8 * i) & 0xFFu);
    }
    part.ee = board.eeprom;
    part.offset = 0;
    part.size = sizeof board.eeprom;
    avr_ioctl(board.avr, AVR_IOCTL_EEPROM_SET, &part);
}

/* What the chip has written since the last look goes to the file. */
static void save_eeprom(void)
{
    uint8_t chip[EEPROM_BYTES];
    avr_eeprom_desc_t part;
    uint32_t first = 0, last = sizeof chip;

    part.ee = chip;
    part.offset = 0;
    part.size = sizeof chip;
    avr_ioctl(board.avr, AVR_IOCTL_EEPROM_GET, &part);
    while (first < last && chip[first] == board.eeprom[first]) {
        first++;
    }
    while (last > first && chip[last - 1] == board.eeprom[last - 1]) {
        last--;
    }
    if (last > first) {
        memcpy(board.eeprom + first, chip + first, last - first);
        memory_write(board.eeprom, first, last - first);
    }
}

static volatile sig_atomic_t power_off;
static volatile sig_atomic_t reset_pressed;

static void on_reset(int number)
{
    (void)number;
    reset_pressed = 1;
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

/* The chip has been reset, by its watchdog timer for one: its count of edges begins anew, as if the robot had been taken
 * home, and what was half sent to it is gone. */
static void restarted(void)
{
    int i;

    board.before += board.last;
    memset(board.at, 0, sizeof board.at);
    for (i = 0; i < ENCODERS; i++) { /* simavr's levels outlive a reset, and a level that is there already is no edge */
        avr_raise_irq(board.encoder_pin[i][0], 0);
        avr_raise_irq(board.encoder_pin[i][1], 0);
    }
    board.next_edges = now() + START_CYCLES;
    board.line_ready = 1;
    board.in_at = board.in_used;
    board.heard_cycle = now(); /* a boot loader that listens for a second does so for a real one */
    board.heard_us = wall_us();
    show_sensors();
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: emulator IMAGE.elf|BOOTLOADER.hex --plant-fd N [--paced] [--unplug-at EPISODE:TICK] "
                                "[--store FILE] [--report FILE]";
    elf_firmware_t image;
    avr_cycle_count_t next = 0;
    unsigned looks = 0;

    board.options = options_parse(argc, argv, 2, usage);
    board.world.fd = board.options.plant_fd;
    avr_global_logger_set(quiet);
    memset(&image, 0, sizeof image);
    board.bare = bootloader_is(argv[1]);
    if (!board.bare && elf_read_firmware(argv[1], &image) != 0) {
        die("the image cannot be read: is it an ELF file for this chip?");
    }
    board.avr = avr_make_mcu_by_name(CHIP_NAME);
    if (board.avr == NULL || avr_init(board.avr) != 0) {
        die("simavr does not know the " CHIP_NAME);
    }
    if (board.bare) {
        bootloader_burn(board.avr, argv[1]);
    } else {
        image.frequency = HZ;
        avr_load_firmware(board.avr, &image);
    }
    board.avr->frequency = HZ;
    board.avr->vcc = board.avr->avcc = AVCC_MV;
    board.avr->sleep = sleep_not;
    memcpy(board.actuators, robot_safe, sizeof board.actuators);
    wire_up();
    fill_eeprom();
    (void)signal(SIGTERM, on_terminate);
    (void)signal(SIGUSR1, on_reset);
    world_request(&board.world, 'R', 0, 0, board.actuators, 0);
    show_sensors();
    board.heard_us = wall_us();
    line_open(&board.line);
    if (board.bare) {
        plug_watch(&board.line);
    }
    for (;;) {
        const int state = avr_run(board.avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            if (!board.bare) {
                errno = 0;
                die("the chip has crashed or stopped for good");
            }
            bootloader_reset(board.avr, 0); /* half an upload: it strays through empty flash to its boot loader */
        }
        if (board.avr->cycle < board.last) {
            restarted();
        }
        board.last = board.avr->cycle;
        if (board.avr->data[REGISTER_PCICR] == 0) { /* a boot loader counts no edges, nor does firmware that starts */
            board.next_edges = now() + START_CYCLES;
        } else if (now() >= board.next_edges) {
            board.next_edges += EDGE_CYCLES;
            give_edges();
        }
        if (board.options.report != NULL) {
            const uint8_t *const stack = board.avr->data + REGISTER_SPL;
            const uint16_t at = (uint16_t)(stack[0] | stack[1] << 8);
            if (at < board.lowest_stack && at > 0x100) { /* below: before it was set up */
                board.lowest_stack = at;
            }
        }
        if (now() >= next) {
            next = now() + PUMP_CYCLES;
            pump();
            keep_pace();
            if (reset_pressed) {
                reset_pressed = 0;
                if (board.bare) {
                    bootloader_reset(board.avr, 1);
                } else {
                    avr_reset(board.avr);
                }
            }
            if (board.bare && plug_opened(&board.line)) {
                bootloader_reset(board.avr, 1);
            }
            if (++looks % 100 == 0) {
                wait_for_host(0); /* a machine too slow for the chip never waits, and the world may be gone */
            }
            if (board.options.store != NULL && (power_off || looks % 100 == 0)) {
                save_eeprom();
            }
            if (power_off) {
                if (board.options.report != NULL) {
                    report();
                }
                return 0;
            }
        }
        if (board.line.fd < 0 && !board.torque_on && board.episodes > 0) {
            return 0; /* unplugged, and the motors are released */
        }
    }
}
